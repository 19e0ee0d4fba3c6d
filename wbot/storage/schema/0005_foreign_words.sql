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
