-- Whether a contact card gave the name: another person's words, until the customer confirms a payment to it.
ALTER TABLE payees ADD COLUMN is_from_card INTEGER NOT NULL DEFAULT 0;
