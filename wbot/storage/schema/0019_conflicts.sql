-- Customers under a known number with another user id: an operator decides who they are.

ALTER TABLE customers ADD COLUMN held_for INTEGER REFERENCES customers (id);  -- who had the number
CREATE INDEX customers_by_former ON customers (held_for) WHERE held_for IS NOT NULL;
CREATE INDEX customers_held ON customers (business_id, created_at) WHERE held_for IS NOT NULL;
ALTER TABLE businesses ADD COLUMN rekeyed_until TEXT;  -- until then a new user id is the same person
