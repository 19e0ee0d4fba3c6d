-- Times are UTC ISO 8601 text of one length, so that text order is time order. Money is integer minor units.

CREATE TABLE installation (
    id TEXT NOT NULL,            -- random; tells our own sends from those of a restored copy
    created_at TEXT NOT NULL
);

CREATE TABLE businesses (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused')),
    phone_number_id TEXT NOT NULL UNIQUE,
    access_token TEXT NOT NULL,  -- env:NAME, file:PATH, or the secret itself
    currency TEXT NOT NULL,
    instructions TEXT NOT NULL DEFAULT '',
    model TEXT,
    confirm_above_minor INTEGER NOT NULL DEFAULT 0,
    max_transfer_minor INTEGER,
    daily_total_minor INTEGER,
    daily_count INTEGER,
    overdraft_minor INTEGER NOT NULL DEFAULT 0,
    cancel_window_s INTEGER NOT NULL DEFAULT 900,
    hold_ttl_s INTEGER NOT NULL DEFAULT 600,
    new_payee_limit_minor INTEGER,
    payees TEXT NOT NULL DEFAULT 'any' CHECK (payees IN ('any', 'known')),
    throughput INTEGER NOT NULL DEFAULT 80,
    error_text TEXT,
    created_at TEXT NOT NULL
);

-- People ---------------------------------------------------------------------------------------

CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    name TEXT,
    merged_into INTEGER REFERENCES customers (id),
    created_at TEXT NOT NULL
);
CREATE INDEX customers_by_business ON customers (business_id);

-- Dated names of a customer; retired, never overwritten, since numbers are recycled.
CREATE TABLE customer_aliases (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    kind TEXT NOT NULL CHECK (kind IN ('phone', 'user_id')),
    value TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    retired_at TEXT
);
CREATE UNIQUE INDEX aliases_in_use ON customer_aliases (business_id, kind, value)
    WHERE retired_at IS NULL;
CREATE INDEX aliases_by_customer ON customer_aliases (customer_id);

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    customer_id INTEGER NOT NULL UNIQUE REFERENCES customers (id),
    next_number INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0,   -- bumped by whoever takes the conversation
    mode TEXT NOT NULL DEFAULT 'bot',
    last_inbound_at TEXT,               -- WhatsApp's time: opens the 24-hour window
    created_at TEXT NOT NULL
);

-- What came in ---------------------------------------------------------------------------------

-- The key is the only constraint: INSERT OR IGNORE would swallow any other one's violation too.
CREATE TABLE message_ids (message_id TEXT PRIMARY KEY) WITHOUT ROWID;

-- Raw bodies, in this one place; `kept` names the parts that nothing else reads.
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY,
    received_at TEXT NOT NULL,
    body BLOB,
    kept TEXT
);

CREATE TABLE messages (
    message_id TEXT PRIMARY KEY REFERENCES message_ids (message_id),
    business_id TEXT REFERENCES businesses (id),       -- none: no business has this number
    conversation_id INTEGER REFERENCES conversations (id),
    phone_number_id TEXT,
    number INTEGER,              -- place in the conversation, taken by the insert
    revision INTEGER NOT NULL DEFAULT 0,
    type TEXT NOT NULL,
    content TEXT,                -- the message object as received; prune clears it
    reply_phone TEXT,            -- exactly what Meta gave, never normalised
    reply_user_id TEXT,
    sent_at TEXT,                -- WhatsApp's timestamp, where it has a sane one
    sort_at TEXT NOT NULL,       -- who goes first among messages whose turn has not begun
    received_at TEXT NOT NULL,
    not_before TEXT,             -- back-off, or a placeholder's wait for the real text
    state TEXT NOT NULL CHECK (state IN ('waiting', 'begun', 'answered', 'silent', 'failed')),
    reason TEXT,                 -- of a silence or a failure
    attempts INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    is_late INTEGER NOT NULL DEFAULT 0,     -- its turn began after a newer message's
    is_taken_up INTEGER NOT NULL DEFAULT 0, -- stale, but the customer said to go on
    question_id INTEGER REFERENCES stale_questions (id),
    ended_at TEXT,
    webhook_id INTEGER REFERENCES webhooks (id),
    UNIQUE (conversation_id, number)
);
CREATE INDEX messages_unfinished ON messages (conversation_id, sort_at, number)
    WHERE state IN ('waiting', 'begun');

-- One question for a run of stale messages; answered once, by a tap.
CREATE TABLE stale_questions (
    id INTEGER PRIMARY KEY,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    asked_at TEXT NOT NULL,
    answer TEXT CHECK (answer IN ('yes', 'no')),
    answered_by TEXT,
    answered_at TEXT
);
CREATE INDEX messages_by_question ON messages (question_id) WHERE question_id IS NOT NULL;

-- What a turn did ------------------------------------------------------------------------------

CREATE TABLE turns (
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    revision INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,               -- none: under way, or the process died
    outcome TEXT,
    PRIMARY KEY (message_id, revision, attempt)
) WITHOUT ROWID;

CREATE TABLE steps (
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    revision INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('model', 'tool')),
    content TEXT NOT NULL,
    duration_ms REAL NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (message_id, revision, number)
) WITHOUT ROWID;

-- One row an effect, whatever round, attempt or revision asked for it.
CREATE TABLE effects (
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,     -- normalised
    result TEXT NOT NULL,
    receipt TEXT,
    transfer_id INTEGER REFERENCES transfers (id),
    created_at TEXT NOT NULL,
    PRIMARY KEY (message_id, tool, arguments)
) WITHOUT ROWID;
CREATE INDEX effects_by_transfer ON effects (transfer_id);

CREATE TABLE processing_errors (
    id INTEGER PRIMARY KEY,
    message_id TEXT,
    error_message TEXT NOT NULL,
    created_at TEXT NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried')),
    business_id TEXT,
    conversation_id INTEGER,
    outbox_id INTEGER
);
CREATE INDEX processing_errors_by_message ON processing_errors (message_id);

-- The ledger -----------------------------------------------------------------------------------

CREATE TABLE payees (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    name TEXT NOT NULL,
    folded TEXT NOT NULL,        -- the name as compared
    created_at TEXT NOT NULL,
    UNIQUE (customer_id, folded)
);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    kind TEXT NOT NULL CHECK (kind IN ('business', 'customer', 'payee')),
    customer_id INTEGER UNIQUE REFERENCES customers (id),
    payee_id INTEGER UNIQUE REFERENCES payees (id),
    currency TEXT NOT NULL
);
CREATE UNIQUE INDEX accounts_of_businesses ON accounts (business_id) WHERE kind = 'business';

-- Append-only. A pending transfer is resolved by one later row (post, void or expire), a posted one
-- reversed by one later row; `target_id` names it.
CREATE TABLE transfers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    kind TEXT NOT NULL
        CHECK (kind IN ('transfer', 'deposit', 'withdrawal', 'merge', 'reversal')),
    phase TEXT NOT NULL CHECK (phase IN ('posted', 'pending', 'refused', 'post', 'void', 'expire')),
    debit_account_id INTEGER NOT NULL REFERENCES accounts (id),
    credit_account_id INTEGER REFERENCES accounts (id),   -- none: refused before there was a payee
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    target_id INTEGER REFERENCES transfers (id),
    refusal TEXT,
    cause_kind TEXT NOT NULL CHECK (cause_kind IN ('call', 'tap', 'operator', 'expiry')),
    cause_key TEXT NOT NULL,
    created_at TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    UNIQUE (cause_kind, cause_key),
    CHECK ((phase = 'refused') = (refusal IS NOT NULL)),
    CHECK (phase = 'refused' OR credit_account_id IS NOT NULL),
    CHECK (debit_account_id <> credit_account_id)
);
CREATE UNIQUE INDEX transfers_resolved_once ON transfers (target_id)
    WHERE phase IN ('post', 'void', 'expire');
CREATE UNIQUE INDEX transfers_reversed_once ON transfers (target_id) WHERE kind = 'reversal';
CREATE INDEX transfers_by_debit ON transfers (debit_account_id, id);
CREATE INDEX transfers_by_credit ON transfers (credit_account_id, id);

-- A person's words, outside the hash chain so that they can be erased.
CREATE TABLE transfer_texts (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    payee TEXT,
    memo TEXT
);

CREATE TABLE postings (
    transfer_id INTEGER NOT NULL REFERENCES transfers (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    amount_minor INTEGER NOT NULL CHECK (amount_minor <> 0),  -- into the account; negative: out of it
    PRIMARY KEY (transfer_id, account_id)
) WITHOUT ROWID;
CREATE INDEX postings_by_account ON postings (account_id);

-- What the rows above add up to, kept beside them so that no balance is ever a scan.
CREATE TABLE balances (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
    posted_minor INTEGER NOT NULL DEFAULT 0,
    held_minor INTEGER NOT NULL DEFAULT 0
);

CREATE TRIGGER transfers_are_not_edited BEFORE UPDATE ON transfers
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfers_are_not_deleted BEFORE DELETE ON transfers
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_are_not_edited BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_are_not_deleted BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- What goes out --------------------------------------------------------------------------------

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    cause TEXT NOT NULL,
    part INTEGER NOT NULL DEFAULT 0,
    message_id TEXT REFERENCES messages (message_id),
    reply_phone TEXT,
    reply_user_id TEXT,
    payload TEXT NOT NULL,       -- the Graph API's type and its object
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN
        ('waiting', 'sending', 'unknown', 'accepted', 'sent', 'delivered', 'read', 'played', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before TEXT,
    unknown_at TEXT,
    wamid TEXT,
    created_at TEXT NOT NULL,
    accepted_at TEXT,
    error TEXT,
    UNIQUE (conversation_id, cause, part)
);
CREATE INDEX outbox_unsettled ON outbox (conversation_id, id)
    WHERE state IN ('waiting', 'sending', 'unknown');
CREATE INDEX outbox_by_message ON outbox (message_id);
CREATE INDEX outbox_by_wamid ON outbox (wamid);

CREATE TABLE send_attempts (
    id INTEGER PRIMARY KEY,
    outbox_id INTEGER NOT NULL REFERENCES outbox (id),
    number INTEGER NOT NULL,
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    outcome TEXT CHECK (outcome IN ('accepted', 'refused', 'not_sent', 'unknown')),
    wamid TEXT,
    code INTEGER,
    detail TEXT,
    UNIQUE (outbox_id, number)
);

-- Every status once; `outbox_id` is empty until the reply it speaks of is known.
CREATE TABLE statuses (
    id INTEGER PRIMARY KEY,
    wamid TEXT NOT NULL,
    status TEXT NOT NULL,
    participant TEXT NOT NULL DEFAULT '',
    outbox_id INTEGER REFERENCES outbox (id),
    opaque TEXT,
    occurred_at TEXT,
    received_at TEXT NOT NULL,
    pricing TEXT,
    errors TEXT,
    webhook_id INTEGER REFERENCES webhooks (id),
    UNIQUE (wamid, status, participant)
);
CREATE INDEX statuses_by_outbox ON statuses (outbox_id);
