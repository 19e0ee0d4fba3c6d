-- What the owner wrote from the phone, which shares the number with the Cloud API.

CREATE TABLE echoes (
    message_id TEXT PRIMARY KEY REFERENCES message_ids (message_id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    type TEXT NOT NULL,
    content TEXT,                -- the message object as received; prune clears it
    said_at TEXT NOT NULL,       -- WhatsApp's time, else ours
    webhook_id INTEGER REFERENCES webhooks (id)
);
CREATE INDEX echoes_by_conversation ON echoes (conversation_id, said_at);
CREATE INDEX echoes_by_webhook ON echoes (webhook_id);

ALTER TABLE conversations ADD COLUMN owner_spoke_at TEXT;
ALTER TABLE businesses ADD COLUMN echo_pause_s INTEGER NOT NULL DEFAULT 1800;
ALTER TABLE businesses ADD COLUMN waba_id TEXT;  -- its account at Meta, where an operator named it
