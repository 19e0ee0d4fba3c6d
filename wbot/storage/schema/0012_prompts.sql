-- Questions with buttons: one store, whatever they are about.

CREATE TABLE prompt_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO prompt_kinds (kind) VALUES ('confirm'), ('stale'), ('cancel');

CREATE TABLE prompts (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL REFERENCES prompt_kinds (kind),
    token TEXT NOT NULL UNIQUE,  -- in the buttons
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    message_id TEXT REFERENCES messages (message_id),  -- the message whose reply it is
    transfer_id INTEGER REFERENCES transfers (id),     -- the one to take back, of a cancel
    asked_at TEXT NOT NULL,
    expires_at TEXT,
    outcome TEXT,                -- none: open
    ended_at TEXT,
    ended_by TEXT,               -- the message that ended it; none: it expired by itself
    told_by TEXT                 -- the message in whose reply the customer heard of the expiry
);
INSERT INTO prompts (kind, token, conversation_id, message_id, asked_at, expires_at, outcome,
    ended_at, ended_by, told_by)
SELECT 'confirm', token, conversation_id, message_id, asked_at, expires_at,
    CASE outcome WHEN 'confirmed' THEN 'yes' WHEN 'cancelled' THEN 'no' ELSE outcome END,
    ended_at, ended_by, told_by
FROM confirmations ORDER BY asked_at;
-- A button of an older question names its number.
INSERT INTO prompts (kind, token, conversation_id, message_id, asked_at, outcome, ended_at,
    ended_by)
SELECT 'stale', CAST(q.id AS TEXT), q.conversation_id,
    (SELECT m.message_id FROM messages m WHERE m.question_id = q.id
     ORDER BY EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.message_id) DESC LIMIT 1),
    q.asked_at, q.answer, q.answered_at, q.answered_by
FROM stale_questions q ORDER BY q.id;

ALTER TABLE messages ADD COLUMN prompt_id INTEGER REFERENCES prompts (id);
UPDATE messages SET prompt_id = (
    SELECT p.id FROM prompts p WHERE p.token = CAST(messages.question_id AS TEXT) AND p.kind = 'stale')
WHERE question_id IS NOT NULL;
DROP INDEX messages_by_question;
ALTER TABLE messages DROP COLUMN question_id;
DROP TRIGGER confirmations_begin_as_allowed;
DROP TRIGGER confirmations_change_as_allowed;
DROP TRIGGER stale_questions_begin_as_allowed;
DROP TRIGGER stale_questions_change_as_allowed;
DROP TABLE confirmations;
DROP TABLE stale_questions;

CREATE INDEX messages_by_prompt ON messages (prompt_id) WHERE prompt_id IS NOT NULL;
CREATE INDEX prompts_by_message ON prompts (message_id, kind);
CREATE INDEX prompts_by_transfer ON prompts (transfer_id) WHERE transfer_id IS NOT NULL;
CREATE INDEX prompts_by_end ON prompts (ended_by) WHERE ended_by IS NOT NULL;
CREATE INDEX prompts_open ON prompts (expires_at) WHERE outcome IS NULL AND expires_at IS NOT NULL;
CREATE INDEX prompts_unanswered ON prompts (conversation_id) WHERE outcome IS NULL;
CREATE INDEX prompts_untold ON prompts (conversation_id)
    WHERE outcome = 'expired' AND told_by IS NULL AND kind = 'confirm';

DELETE FROM state_transitions WHERE machine IN ('confirmation', 'stale_question');
INSERT INTO state_transitions (machine, from_state, to_state) VALUES
    ('prompt', '', 'yes'), ('prompt', '', 'no'), ('prompt', '', 'expired');
CREATE TRIGGER prompts_begin_as_allowed BEFORE INSERT ON prompts
WHEN NEW.outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'prompt' AND from_state = '' AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a question does not end so'); END;
CREATE TRIGGER prompts_change_as_allowed BEFORE UPDATE OF outcome ON prompts
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'prompt' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a question ends once'); END;

-- What is said, in our own form; it was the Graph API's.
UPDATE outbox SET payload = CASE json_extract(payload, '$.type')
    WHEN 'text' THEN
        json_object('type', 'text', 'body', json_extract(payload, '$.text.body'))
    WHEN 'interactive' THEN
        json_object('type', 'prompt', 'body', json_extract(payload, '$.interactive.body.text'),
            'buttons', (SELECT json_group_array(json_object(
                'id', json_extract(one.value, '$.reply.id'),
                'title', json_extract(one.value, '$.reply.title')))
                FROM json_each(payload, '$.interactive.action.buttons') one))
    ELSE payload END;
