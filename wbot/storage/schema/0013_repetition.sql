-- A payment that its customer did not type is asked about.
ALTER TABLE businesses ADD COLUMN own_words TEXT NOT NULL DEFAULT 'on';
-- The same amount to the same payee again is asked about; found by an index.
ALTER TABLE businesses ADD COLUMN repeat_window_s INTEGER NOT NULL DEFAULT 300;
CREATE INDEX transfers_alike
    ON transfers (debit_account_id, credit_account_id, amount_minor, created_at)
    WHERE kind = 'transfer' AND phase IN ('posted', 'pending');
