ALTER TABLE messages RENAME COLUMN is_taken_up TO is_stale_approved;

-- Clearing old raw bodies asks of each whether a row still names it: never by a scan.
CREATE INDEX messages_by_webhook ON messages (webhook_id);
CREATE INDEX statuses_by_webhook ON statuses (webhook_id);

-- Which of a conversation's questions a plain yes or no answers, found without a scan.

CREATE INDEX confirmations_unanswered ON confirmations (conversation_id) WHERE outcome IS NULL;
CREATE INDEX stale_questions_by_conversation ON stale_questions (conversation_id, asked_at);

-- The latest row of the outbox when the model last spoke to the customer: a plain yes after that
-- may be meant for the model, and is no answer to a question from before.
ALTER TABLE conversations ADD COLUMN model_spoke_after INTEGER;

-- What customers read and write of each other.

ALTER TABLE businesses ADD COLUMN show_payer TEXT NOT NULL DEFAULT 'none'
    CHECK (show_payer IN ('name', 'masked', 'none'));

-- Whether the turn met another person's words: it read them, or they were in its history.
ALTER TABLE messages ADD COLUMN foreign_words TEXT CHECK (foreign_words IN ('read', 'in_history'));
-- Statements used to name whoever had paid by the name of their own choice.
UPDATE messages SET foreign_words = 'read'
WHERE message_id IN (
    SELECT message_id FROM steps WHERE kind = 'tool' AND content LIKE '%"name":"statement"%');

-- Whether a customer has ever paid another one.
CREATE INDEX transfers_by_pair ON transfers (debit_account_id, credit_account_id)
    WHERE phase IN ('posted', 'post');

-- The name of a message in logs, for WhatsApp's own id holds the customer's number.
ALTER TABLE messages ADD COLUMN log_id TEXT;
UPDATE messages SET log_id = log_id_of(message_id);
CREATE INDEX messages_by_log_id ON messages (log_id);

-- Nothing that the service, a start or an operator's command asks for reads more as tables grow.

CREATE INDEX messages_in_line ON messages (sort_at, message_id)
    WHERE state IN ('waiting', 'begun');
CREATE INDEX messages_unmatched ON messages (phone_number_id) WHERE business_id IS NULL;
CREATE INDEX messages_unmatched_by_phone ON messages (reply_phone) WHERE business_id IS NULL;
CREATE INDEX messages_unmatched_by_user_id ON messages (reply_user_id) WHERE business_id IS NULL;
CREATE INDEX outbox_by_conversation ON outbox (conversation_id, id);
CREATE INDEX outbox_in_line ON outbox (id) WHERE state IN ('waiting', 'sending', 'unknown');
CREATE INDEX attempts_open ON send_attempts (id) WHERE closed_at IS NULL;
CREATE INDEX conversations_by_time ON conversations (business_id, last_inbound_at);
CREATE INDEX processing_errors_by_time ON processing_errors (created_at);
CREATE INDEX aliases_by_value ON customer_aliases (value);
CREATE INDEX customers_by_merge ON customers (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX known_customers_by_payee ON known_customers (payee_customer_id);
CREATE INDEX accounts_by_business ON accounts (business_id);
CREATE INDEX transfers_pending ON transfers (debit_account_id, id) WHERE phase = 'pending';
-- An account's sum by this index alone.
DROP INDEX postings_by_account;
CREATE INDEX postings_by_account ON postings (account_id, transfer_id, amount_minor);

-- WhatsApp's time of the newest message that has had its turn: whatever is older came late.
ALTER TABLE conversations ADD COLUMN last_handled_sent_at TEXT;
UPDATE conversations SET last_handled_sent_at = (
    SELECT max(m.sent_at) FROM messages m
    WHERE m.conversation_id = conversations.id AND m.state NOT IN ('waiting', 'begun'));

-- The read mark and the typing indicator of a message are sent once.
ALTER TABLE messages ADD COLUMN is_marked_read INTEGER NOT NULL DEFAULT 0;

-- The pending transfers that nothing has ended, kept beside the ledger as the balances are.
CREATE TABLE holds (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    debit_account_id INTEGER NOT NULL REFERENCES accounts (id),
    credit_account_id INTEGER NOT NULL REFERENCES accounts (id)
);
CREATE INDEX holds_by_debit ON holds (debit_account_id);
CREATE INDEX holds_by_credit ON holds (credit_account_id);
INSERT INTO holds
SELECT t.id, t.debit_account_id, t.credit_account_id FROM transfers t
WHERE t.phase = 'pending' AND NOT EXISTS
    (SELECT 1 FROM transfers r WHERE r.target_id = t.id AND r.phase IN ('post', 'void', 'expire'));

-- Up to which row the ledger has been verified. It only spares work: the daily audit starts anew.
CREATE TABLE ledger_checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    transfer_id INTEGER NOT NULL,
    hash TEXT NOT NULL,
    at TEXT NOT NULL
);

-- How an attempt of a turn ended: a word, and what there is to say of it.
ALTER TABLE turns ADD COLUMN detail TEXT;
UPDATE turns SET outcome = 'retry', detail = substr(outcome, 8) WHERE outcome LIKE 'retry: %';
UPDATE turns SET outcome = 'blocked', detail = substr(outcome, 7) WHERE outcome LIKE 'held: %';

-- Which state may follow which, as wbot/domain/states.py has it; '' is none yet.
CREATE TABLE state_transitions (
    machine TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    PRIMARY KEY (machine, from_state, to_state)
) WITHOUT ROWID;
INSERT INTO state_transitions (machine, from_state, to_state) VALUES
    ('message', '', 'waiting'), ('message', '', 'silent'),
    ('message', 'waiting', 'begun'), ('message', 'waiting', 'silent'),
    ('message', 'begun', 'answered'), ('message', 'begun', 'silent'),
    ('message', 'begun', 'failed'),
    ('message', 'answered', 'waiting'),
    ('message', 'silent', 'waiting'),
    ('message', 'failed', 'waiting'),
    ('turn', '', 'retry'), ('turn', '', 'blocked'), ('turn', '', 'stopped'),
    ('turn', '', 'answered'), ('turn', '', 'silent'), ('turn', '', 'failed'),
    ('reply', '', 'waiting'),
    ('reply', 'waiting', 'sending'), ('reply', 'waiting', 'accepted'),
    ('reply', 'waiting', 'sent'), ('reply', 'waiting', 'failed'),
    ('reply', 'waiting', 'delivered'), ('reply', 'waiting', 'read'),
    ('reply', 'waiting', 'played'),
    ('reply', 'sending', 'waiting'), ('reply', 'sending', 'unknown'),
    ('reply', 'sending', 'accepted'), ('reply', 'sending', 'sent'),
    ('reply', 'sending', 'failed'), ('reply', 'sending', 'delivered'),
    ('reply', 'sending', 'read'), ('reply', 'sending', 'played'),
    ('reply', 'unknown', 'sending'), ('reply', 'unknown', 'accepted'),
    ('reply', 'unknown', 'sent'), ('reply', 'unknown', 'failed'),
    ('reply', 'unknown', 'delivered'), ('reply', 'unknown', 'read'),
    ('reply', 'unknown', 'played'),
    ('reply', 'accepted', 'sent'), ('reply', 'accepted', 'failed'),
    ('reply', 'accepted', 'delivered'), ('reply', 'accepted', 'read'),
    ('reply', 'accepted', 'played'),
    ('reply', 'sent', 'failed'), ('reply', 'sent', 'delivered'), ('reply', 'sent', 'read'),
    ('reply', 'sent', 'played'),
    ('reply', 'failed', 'delivered'), ('reply', 'failed', 'read'), ('reply', 'failed', 'played'),
    ('reply', 'delivered', 'read'), ('reply', 'delivered', 'played'),
    ('reply', 'read', 'played'),
    ('send', '', 'accepted'), ('send', '', 'refused'), ('send', '', 'not_sent'),
    ('send', '', 'unknown'),
    ('confirmation', '', 'confirmed'), ('confirmation', '', 'cancelled'),
    ('confirmation', '', 'expired'),
    ('stale_question', '', 'yes'), ('stale_question', '', 'no');

CREATE TRIGGER messages_begin_as_allowed BEFORE INSERT ON messages
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'message' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a message does not begin in this state'); END;
CREATE TRIGGER outbox_begin_as_allowed BEFORE INSERT ON outbox
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'reply' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a reply does not begin in this state'); END;
CREATE TRIGGER messages_change_as_allowed BEFORE UPDATE OF state ON messages
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'message' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a message does not change so'); END;
CREATE TRIGGER outbox_change_as_allowed BEFORE UPDATE OF state ON outbox
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'reply' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a reply does not change so'); END;
CREATE TRIGGER turns_change_as_allowed BEFORE UPDATE OF outcome ON turns
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'turn' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a turn ends once'); END;
CREATE TRIGGER send_attempts_change_as_allowed BEFORE UPDATE OF outcome ON send_attempts
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'send' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'an attempt to send ends once'); END;
CREATE TRIGGER confirmations_change_as_allowed BEFORE UPDATE OF outcome ON confirmations
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'confirmation' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a question ends once'); END;
CREATE TRIGGER stale_questions_change_as_allowed BEFORE UPDATE OF answer ON stale_questions
WHEN NEW.answer IS NOT OLD.answer AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'stale_question' AND from_state = coalesce(OLD.answer, '')
        AND to_state = NEW.answer)
BEGIN SELECT RAISE(ABORT, 'a question is answered once'); END;
-- Of transfers no column tells the state: a later row, which names its target, changes it.
CREATE TRIGGER transfers_change_as_allowed BEFORE INSERT ON transfers
WHEN (NEW.phase IN ('post', 'void', 'expire') AND NOT EXISTS (
        SELECT 1 FROM transfers WHERE id = NEW.target_id AND phase = 'pending'))
    OR (NEW.kind = 'reversal' AND NOT EXISTS (
        SELECT 1 FROM transfers t WHERE t.id = NEW.target_id AND (t.phase = 'posted' OR EXISTS (
            SELECT 1 FROM transfers r WHERE r.target_id = t.id
                AND r.phase IN ('post', 'void', 'expire') AND r.phase = 'post'))))
BEGIN SELECT RAISE(ABORT, 'the ledger: only what is pending ends, only what is posted is reversed'); END;
