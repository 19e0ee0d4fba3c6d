-- Two-phase transfers: what a customer is asked, whom he knows, and a ledger that nothing can edit.

-- One question a message, about all the transfers that it left pending.
CREATE TABLE confirmations (
    message_id TEXT PRIMARY KEY REFERENCES messages (message_id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    token TEXT NOT NULL UNIQUE,  -- in the buttons; random, or a restored copy took an old tap for a new one
    asked_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    outcome TEXT CHECK (outcome IN ('confirmed', 'cancelled', 'expired')),
    ended_at TEXT,
    ended_by TEXT,               -- the message that ended it; none: it expired by itself
    told_by TEXT                 -- the message in whose reply the customer heard of the expiry
);
CREATE INDEX confirmations_open ON confirmations (expires_at) WHERE outcome IS NULL;
CREATE INDEX confirmations_untold ON confirmations (conversation_id)
    WHERE outcome = 'expired' AND told_by IS NULL;

-- A name is known once its customer has confirmed a transfer to it, or by the operator's word.
ALTER TABLE payees ADD COLUMN known_since TEXT;
UPDATE payees SET known_since = created_at;

-- The same of other customers; whoever was paid before there were confirmations is known, too.
CREATE TABLE known_customers (
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    payee_customer_id INTEGER NOT NULL REFERENCES customers (id),
    known_since TEXT NOT NULL,
    PRIMARY KEY (customer_id, payee_customer_id)
) WITHOUT ROWID;
INSERT INTO known_customers
SELECT d.customer_id, c.customer_id, min(t.created_at)
FROM transfers t
JOIN accounts d ON d.id = t.debit_account_id
JOIN accounts c ON c.id = t.credit_account_id
WHERE t.kind = 'transfer' AND t.phase = 'posted'
    AND d.customer_id IS NOT NULL AND c.customer_id IS NOT NULL
GROUP BY d.customer_id, c.customer_id;

CREATE INDEX transfers_by_day ON transfers (debit_account_id, created_at);

-- INSERT OR REPLACE deletes what is in its way without asking the triggers against deletion.
CREATE TRIGGER transfers_are_not_replaced BEFORE INSERT ON transfers
WHEN EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM transfers WHERE hash = NEW.hash)
    OR EXISTS (SELECT 1 FROM transfers
               WHERE cause_kind = NEW.cause_kind AND cause_key = NEW.cause_key)
    OR (NEW.phase IN ('post', 'void', 'expire') AND EXISTS (
        SELECT 1 FROM transfers
        WHERE target_id = NEW.target_id AND phase IN ('post', 'void', 'expire')))
    OR (NEW.kind = 'reversal' AND EXISTS (
        SELECT 1 FROM transfers WHERE target_id = NEW.target_id AND kind = 'reversal'))
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfers_continue_the_chain BEFORE INSERT ON transfers
WHEN NEW.previous_hash IS NOT coalesce(
    (SELECT hash FROM transfers ORDER BY id DESC LIMIT 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row continues the chain'); END;
CREATE TRIGGER transfers_are_whole BEFORE INSERT ON transfers
WHEN typeof(NEW.amount_minor) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: amounts are whole'); END;
-- Whose account it is stands outside the chain, and is as good as the money in it.
CREATE TRIGGER accounts_are_not_moved
BEFORE UPDATE OF id, business_id, kind, customer_id, payee_id ON accounts
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an account keeps its owner'); END;
CREATE TRIGGER accounts_are_not_deleted BEFORE DELETE ON accounts
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an account keeps its owner'); END;
CREATE TRIGGER postings_are_not_replaced BEFORE INSERT ON postings
WHEN typeof(NEW.amount_minor) <> 'integer' OR EXISTS (
    SELECT 1 FROM postings WHERE transfer_id = NEW.transfer_id AND account_id = NEW.account_id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
