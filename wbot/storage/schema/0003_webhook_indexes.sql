-- Clearing old raw bodies asks of each whether a row still names it: never by a scan.
CREATE INDEX messages_by_webhook ON messages (webhook_id);
CREATE INDEX statuses_by_webhook ON statuses (webhook_id);
