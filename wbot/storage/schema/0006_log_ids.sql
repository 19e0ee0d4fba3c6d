-- The name of a message in logs, for WhatsApp's own id holds the customer's number.
ALTER TABLE messages ADD COLUMN log_id TEXT;
UPDATE messages SET log_id = log_id_of(message_id);
CREATE INDEX messages_by_log_id ON messages (log_id);
