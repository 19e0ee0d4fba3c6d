-- Nothing that the service, a start or an operator's command asks for reads more as tables grow.

CREATE INDEX IF NOT EXISTS messages_by_webhook ON messages (webhook_id);
CREATE INDEX IF NOT EXISTS statuses_by_webhook ON statuses (webhook_id);
CREATE INDEX messages_in_line ON messages (sort_at, message_id)
    WHERE state IN ('waiting', 'begun');
CREATE INDEX messages_unmatched ON messages (phone_number_id) WHERE business_id IS NULL;
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
