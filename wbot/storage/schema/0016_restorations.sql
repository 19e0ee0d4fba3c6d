-- Restored copies of this database: a row is written into each copy by whoever makes it, and by the
-- restore into any other. Until an operator has accepted it, no money moves.
CREATE TABLE restorations (
    id INTEGER PRIMARY KEY,
    copied_at TEXT NOT NULL,
    last_transfer_id INTEGER NOT NULL, -- of the ledger when it was copied; 0: none yet
    last_hash TEXT NOT NULL,
    replaced TEXT,                     -- the file that was in its place, kept beside it
    restored_at TEXT,                  -- when what was unfinished was ended; none: not yet
    messages INTEGER,                  -- unfinished, and stale from then on
    replies INTEGER,                   -- queued or unknown, and never sent
    holds INTEGER,                     -- voided
    accepted_at TEXT
);
