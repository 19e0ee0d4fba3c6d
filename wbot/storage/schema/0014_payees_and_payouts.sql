-- A customer's name for another customer: such a payee is paid at once, at this number.
ALTER TABLE payees ADD COLUMN number TEXT;      -- digits; none: somebody outside, whom the business pays out
ALTER TABLE payees ADD COLUMN named_at TEXT;    -- when the customer gave the name to the number
CREATE INDEX payees_by_number ON payees (customer_id, number) WHERE number IS NOT NULL;

-- The number behind a name in `payee`, of a customer; with + where the payer typed it themselves.
ALTER TABLE transfer_texts ADD COLUMN payee_number TEXT;

-- Payouts: what the business owes to payees outside, in batches.
INSERT INTO transfer_kinds VALUES ('payout');

CREATE TABLE payout_batches (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    created_at TEXT NOT NULL
);
CREATE INDEX payout_batches_by_business ON payout_batches (business_id, id);

-- What a batch pays to one payee.
CREATE TABLE payouts (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES payout_batches (id),
    payee_id INTEGER NOT NULL REFERENCES payees (id),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    state TEXT NOT NULL,
    ended_at TEXT,
    key TEXT,                                               -- the operator's, that ended it
    transfer_id INTEGER UNIQUE REFERENCES transfers (id),   -- what settled it
    UNIQUE (batch_id, payee_id)
);
CREATE INDEX payouts_by_payee ON payouts (payee_id);

-- A transfer is in one batch at most.
CREATE TABLE payout_transfers (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    payout_id INTEGER NOT NULL REFERENCES payouts (id)
);
CREATE INDEX payout_transfers_by_payout ON payout_transfers (payout_id);

-- What an operator's key did: the same key again does nothing.
CREATE TABLE payout_keys (
    business_id TEXT NOT NULL REFERENCES businesses (id),
    key TEXT NOT NULL,
    end_state TEXT NOT NULL,
    batch_id INTEGER NOT NULL REFERENCES payout_batches (id),
    payee_id INTEGER REFERENCES payees (id),                -- none: the whole batch
    at TEXT NOT NULL,
    PRIMARY KEY (business_id, key)
) WITHOUT ROWID;
CREATE INDEX payout_keys_by_batch ON payout_keys (batch_id);

INSERT INTO state_transitions (machine, from_state, to_state) VALUES
    ('payout', '', 'exported'), ('payout', 'exported', 'settled'), ('payout', 'exported', 'void');
CREATE TRIGGER payouts_begin_as_allowed BEFORE INSERT ON payouts
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'payout' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a payout does not begin in this state'); END;
CREATE TRIGGER payouts_change_as_allowed BEFORE UPDATE OF state ON payouts
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'payout' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a payout ends once'); END;
CREATE TRIGGER payouts_are_not_reversed BEFORE INSERT ON transfers
WHEN NEW.kind = 'reversal' AND (
    EXISTS (SELECT 1 FROM payouts WHERE transfer_id = NEW.target_id)
    OR EXISTS (SELECT 1 FROM payout_transfers i JOIN payouts o ON o.id = i.payout_id
        WHERE i.transfer_id = NEW.target_id AND o.state <> 'void'))
BEGIN SELECT RAISE(ABORT, 'the ledger: what is in a payout is given back only by voiding it'); END;
