-- When the customer was told that an answer takes longer; empty again once a model has answered.
ALTER TABLE conversations ADD COLUMN told_to_wait_at TEXT;

-- The path of a text file that is read into the prompt.
ALTER TABLE businesses ADD COLUMN knowledge TEXT;
