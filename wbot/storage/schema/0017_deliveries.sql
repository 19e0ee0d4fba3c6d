-- A failure that Meta reports by a status means what the same code means in an answer: a reply that
-- failed for a passing reason waits to be sent again; one that failed for good is told of later.

ALTER TABLE statuses ADD COLUMN code INTEGER;
ALTER TABLE outbox ADD COLUMN told_at TEXT;     -- when the customer heard that it did not arrive
UPDATE outbox SET told_at = created_at WHERE state = 'failed';
CREATE INDEX outbox_untold ON outbox (conversation_id, id) WHERE state = 'failed' AND told_at IS NULL;

INSERT INTO state_transitions (machine, from_state, to_state) VALUES
    ('reply', 'unknown', 'waiting'), ('reply', 'accepted', 'waiting'), ('reply', 'sent', 'waiting'),
    ('reply', 'failed', 'waiting');
