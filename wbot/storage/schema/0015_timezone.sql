-- Of all times that customers read; without a name that of the number's country, else UTC.
ALTER TABLE businesses ADD COLUMN timezone TEXT;
-- The business's own number in digits, as WhatsApp names it in each webhook.
ALTER TABLE businesses ADD COLUMN number TEXT;
