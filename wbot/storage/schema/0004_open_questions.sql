-- Which of a conversation's questions a plain yes or no answers, found without a scan.

CREATE INDEX confirmations_unanswered ON confirmations (conversation_id) WHERE outcome IS NULL;
CREATE INDEX stale_questions_by_conversation ON stale_questions (conversation_id, asked_at);

-- The latest row of the outbox when the model last spoke to the customer: a plain yes after that
-- may be meant for the model, and is no answer to a question from before.
ALTER TABLE conversations ADD COLUMN model_spoke_after INTEGER;
