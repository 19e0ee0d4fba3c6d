-- Times are UTC ISO 8601 text of one length, so that text order is time order. Money is integer minor units.

-- Allowed values, a table a list: a new one is a row, not a rebuilt table. The states of what has
-- a state machine are in `state_transitions`, at the end.

CREATE TABLE business_statuses (status TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO business_statuses VALUES ('active'), ('paused');
CREATE TABLE payee_rules (rule TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO payee_rules VALUES ('any'), ('known');
CREATE TABLE payer_names (shown TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO payer_names VALUES ('name'), ('masked'), ('none');
CREATE TABLE alias_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO alias_kinds VALUES ('phone'), ('user_id');
CREATE TABLE foreign_words (met TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO foreign_words VALUES ('read'), ('in_history');
CREATE TABLE prompt_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO prompt_kinds VALUES ('confirm'), ('stale'), ('cancel');
CREATE TABLE step_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO step_kinds VALUES ('model'), ('tool');
CREATE TABLE error_states (state TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO error_states VALUES ('open'), ('retried');
CREATE TABLE account_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO account_kinds VALUES ('business'), ('customer'), ('payee');
CREATE TABLE transfer_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO transfer_kinds VALUES
    ('transfer'), ('deposit'), ('withdrawal'), ('merge'), ('reversal'), ('payout');
CREATE TABLE transfer_phases (phase TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO transfer_phases VALUES
    ('posted'), ('pending'), ('refused'), ('post'), ('void'), ('expire');
CREATE TABLE cause_kinds (kind TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO cause_kinds VALUES ('call'), ('tap'), ('operator'), ('expiry');

-- Businesses -----------------------------------------------------------------------------------

CREATE TABLE installation (
    id TEXT NOT NULL,            -- random; tells our own sends from those of a restored copy
    created_at TEXT NOT NULL
);

CREATE TABLE businesses (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'active' REFERENCES business_statuses (status),
    phone_number_id TEXT NOT NULL UNIQUE,
    number TEXT,                 -- its own, in digits, as WhatsApp names it in each webhook
    waba_id TEXT,                -- its account at Meta, where an operator named it
    access_token TEXT NOT NULL,  -- env:NAME, file:PATH, or the secret itself
    currency TEXT NOT NULL,
    -- Of all times that customers read; without a name that of the number's country, else UTC.
    timezone TEXT,
    instructions TEXT NOT NULL DEFAULT '',
    knowledge TEXT,              -- the path of a text file that is read into the prompt
    model TEXT,
    confirm_above_minor INTEGER NOT NULL DEFAULT 0,
    max_transfer_minor INTEGER,
    daily_total_minor INTEGER,
    daily_count INTEGER,
    overdraft_minor INTEGER NOT NULL DEFAULT 0,
    cancel_window_s INTEGER NOT NULL DEFAULT 900,
    hold_ttl_s INTEGER NOT NULL DEFAULT 600,
    new_payee_limit_minor INTEGER,
    payees TEXT NOT NULL DEFAULT 'any' REFERENCES payee_rules (rule),
    show_payer TEXT NOT NULL DEFAULT 'none' REFERENCES payer_names (shown),
    -- A payment that its customer did not type is asked about.
    own_words TEXT NOT NULL DEFAULT 'on',
    -- The same amount to the same payee again is asked about.
    repeat_window_s INTEGER NOT NULL DEFAULT 300,
    echo_pause_s INTEGER NOT NULL DEFAULT 1800,  -- the model's silence after the owner has written
    throughput INTEGER NOT NULL DEFAULT 80,
    error_text TEXT,
    rekeyed_until TEXT,          -- until then a new user id is the same person
    created_at TEXT NOT NULL
);

-- People ---------------------------------------------------------------------------------------

CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    name TEXT,
    merged_into INTEGER REFERENCES customers (id),
    -- Who had the number before: known under it with another user id, until an operator decides who
    -- this is.
    held_for INTEGER REFERENCES customers (id),
    created_at TEXT NOT NULL
);
CREATE INDEX customers_by_business ON customers (business_id);
CREATE INDEX customers_by_merge ON customers (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX customers_by_former ON customers (held_for) WHERE held_for IS NOT NULL;
CREATE INDEX customers_held ON customers (business_id, created_at) WHERE held_for IS NOT NULL;

-- Dated names of a customer; retired, never overwritten, since numbers are recycled.
CREATE TABLE customer_aliases (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    kind TEXT NOT NULL REFERENCES alias_kinds (kind),
    value TEXT NOT NULL,
    first_seen_at TEXT NOT NULL,
    retired_at TEXT
);
CREATE UNIQUE INDEX aliases_in_use ON customer_aliases (business_id, kind, value)
    WHERE retired_at IS NULL;
CREATE INDEX aliases_by_customer ON customer_aliases (customer_id);
CREATE INDEX aliases_by_value ON customer_aliases (value);

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    customer_id INTEGER NOT NULL UNIQUE REFERENCES customers (id),
    next_number INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0,   -- of the claim that may write; each claim adds one
    account_id TEXT,                    -- Meta's, that the business's number was in at last
    last_inbound_at TEXT,               -- WhatsApp's time: opens the 24-hour window
    created_at TEXT NOT NULL,
    -- The latest row of the outbox when the model last spoke to the customer: a plain yes after that
    -- may be meant for the model, and is no answer to a question from before.
    model_spoke_after INTEGER,
    -- WhatsApp's time of the newest message that has had its turn: an older one came late.
    last_handled_sent_at TEXT,
    -- When the customer was told that an answer takes longer; empty again once a model has answered.
    told_to_wait_at TEXT,
    owner_spoke_at TEXT                 -- from the phone: the model is silent for a while
);
CREATE INDEX conversations_by_time ON conversations (business_id, last_inbound_at);

-- What came in ---------------------------------------------------------------------------------

-- The key is the only constraint: INSERT OR IGNORE would swallow any other one's violation too.
CREATE TABLE message_ids (message_id TEXT PRIMARY KEY) WITHOUT ROWID;

-- Raw bodies that say more than the rows made from them; `kept` names the parts without a row.
CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY,
    received_at TEXT NOT NULL,
    body BLOB,                   -- prune clears it
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
    state TEXT NOT NULL,
    reason TEXT,                 -- of a silence or a failure
    attempts INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    is_late INTEGER NOT NULL DEFAULT 0,     -- its turn began after a newer message's
    is_stale_approved INTEGER NOT NULL DEFAULT 0, -- stale, but the customer said to go on
    prompt_id INTEGER REFERENCES prompts (id),  -- the question about it, once it was stale
    ended_at TEXT,
    webhook_id INTEGER REFERENCES webhooks (id),
    -- Whether the turn met another person's words: it read them, or they were in its history.
    foreign_words TEXT REFERENCES foreign_words (met),
    log_id TEXT,                 -- its name in logs: WhatsApp's own id holds the customer's number
    is_marked_read INTEGER NOT NULL DEFAULT 0, -- read mark and typing indicator are sent once
    UNIQUE (conversation_id, number)
);
CREATE INDEX messages_unfinished ON messages (conversation_id, sort_at, number)
    WHERE state IN ('waiting', 'begun');
CREATE INDEX messages_in_line ON messages (sort_at, message_id)
    WHERE state IN ('waiting', 'begun');
CREATE INDEX messages_by_log_id ON messages (log_id);
CREATE INDEX messages_unmatched ON messages (phone_number_id) WHERE business_id IS NULL;
CREATE INDEX messages_unmatched_by_phone ON messages (reply_phone) WHERE business_id IS NULL;
CREATE INDEX messages_unmatched_by_user_id ON messages (reply_user_id) WHERE business_id IS NULL;
-- Clearing old raw bodies asks of each whether a row still names it: never by a scan.
CREATE INDEX messages_by_webhook ON messages (webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX messages_by_prompt ON messages (prompt_id) WHERE prompt_id IS NOT NULL;

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

-- Questions with buttons, whatever they are about: the transfers that a message left pending, a run
-- of stale messages, a payment to take back. Each ends once.
CREATE TABLE prompts (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL REFERENCES prompt_kinds (kind),
    token TEXT NOT NULL UNIQUE,  -- in the buttons; random, or a restored copy took an old tap for a new one
    conversation_id INTEGER NOT NULL REFERENCES conversations (id),
    message_id TEXT REFERENCES messages (message_id),  -- the message whose reply it is
    transfer_id INTEGER REFERENCES transfers (id),     -- the one to take back, of a cancel
    asked_at TEXT NOT NULL,
    expires_at TEXT,
    outcome TEXT,                -- none: open
    ended_at TEXT,
    ended_by TEXT,               -- the message that ended it; none: it expired by itself
    told_by TEXT                 -- the message in whose reply the customer heard of the expiry
);
CREATE INDEX prompts_by_message ON prompts (message_id, kind);
CREATE INDEX prompts_by_transfer ON prompts (transfer_id) WHERE transfer_id IS NOT NULL;
CREATE INDEX prompts_by_end ON prompts (ended_by) WHERE ended_by IS NOT NULL;
CREATE INDEX prompts_open ON prompts (expires_at) WHERE outcome IS NULL AND expires_at IS NOT NULL;
-- Which of a conversation's questions a plain yes or no answers, found without a scan.
CREATE INDEX prompts_unanswered ON prompts (conversation_id) WHERE outcome IS NULL;
CREATE INDEX prompts_untold ON prompts (conversation_id)
    WHERE outcome = 'expired' AND told_by IS NULL AND kind = 'confirm';

-- What a turn did ------------------------------------------------------------------------------

CREATE TABLE turns (
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    revision INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,               -- none: under way, or the process died
    outcome TEXT,
    detail TEXT,                 -- what there is to say of the outcome
    PRIMARY KEY (message_id, revision, attempt)
) WITHOUT ROWID;

CREATE TABLE steps (
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    revision INTEGER NOT NULL,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL REFERENCES step_kinds (kind),
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

-- Calls to the team's own backend, made outside any transaction: one row an effect, as above.
CREATE TABLE outside_calls (
    key TEXT PRIMARY KEY,        -- the idempotency key: the same in every attempt and revision
    message_id TEXT NOT NULL REFERENCES messages (message_id),
    tool TEXT NOT NULL,
    arguments TEXT NOT NULL,     -- normalised
    request TEXT NOT NULL,       -- what is sent, the same each time
    attempts INTEGER NOT NULL,
    state TEXT NOT NULL,
    opened_at TEXT NOT NULL,
    closed_at TEXT
) WITHOUT ROWID;
CREATE INDEX outside_calls_by_message ON outside_calls (message_id);

-- What an endpoint takes for a model, found out from its refusals; kept for a week.
CREATE TABLE model_dialects (
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    dialect TEXT NOT NULL,
    learned_at TEXT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;

CREATE TABLE processing_errors (
    id INTEGER PRIMARY KEY,
    message_id TEXT,
    error_message TEXT NOT NULL,
    created_at TEXT NOT NULL,
    retry_count INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open' REFERENCES error_states (state),
    business_id TEXT,
    conversation_id INTEGER,
    outbox_id INTEGER
);
CREATE INDEX processing_errors_by_message ON processing_errors (message_id);
CREATE INDEX processing_errors_by_time ON processing_errors (created_at);

-- The ledger -----------------------------------------------------------------------------------

CREATE TABLE payees (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    name TEXT NOT NULL,
    folded TEXT NOT NULL,        -- the name as compared
    created_at TEXT NOT NULL,
    known_since TEXT,            -- confirmed by its customer in a transfer to it, or by an operator
    -- In digits, of another customer whom the name is for and who is paid at once; none: somebody
    -- outside, whom the business pays out.
    number TEXT,
    named_at TEXT,               -- when the customer gave the name to the number
    -- A contact card gave the name: another person's words, until the customer confirms a payment.
    is_from_card INTEGER NOT NULL DEFAULT 0,
    UNIQUE (customer_id, folded)
);
CREATE INDEX payees_by_number ON payees (customer_id, number) WHERE number IS NOT NULL;

-- The same of other customers.
CREATE TABLE known_customers (
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    payee_customer_id INTEGER NOT NULL REFERENCES customers (id),
    known_since TEXT NOT NULL,
    PRIMARY KEY (customer_id, payee_customer_id)
) WITHOUT ROWID;
CREATE INDEX known_customers_by_payee ON known_customers (payee_customer_id);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    kind TEXT NOT NULL REFERENCES account_kinds (kind),
    customer_id INTEGER UNIQUE REFERENCES customers (id),
    payee_id INTEGER UNIQUE REFERENCES payees (id),
    currency TEXT NOT NULL
);
CREATE INDEX accounts_by_business ON accounts (business_id);
CREATE UNIQUE INDEX accounts_of_businesses ON accounts (business_id) WHERE kind = 'business';

-- Append-only. A pending transfer is resolved by one later row (post, void or expire), a posted one
-- reversed by one later row; `target_id` names it.
CREATE TABLE transfers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    kind TEXT NOT NULL REFERENCES transfer_kinds (kind),
    phase TEXT NOT NULL REFERENCES transfer_phases (phase),
    debit_account_id INTEGER NOT NULL REFERENCES accounts (id),
    credit_account_id INTEGER REFERENCES accounts (id),   -- none: refused before there was a payee
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    target_id INTEGER REFERENCES transfers (id),
    refusal TEXT,
    cause_kind TEXT NOT NULL REFERENCES cause_kinds (kind),
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
CREATE INDEX transfers_by_day ON transfers (debit_account_id, created_at);
CREATE INDEX transfers_pending ON transfers (debit_account_id, id) WHERE phase = 'pending';
-- Whether a customer has ever paid another one.
CREATE INDEX transfers_by_pair ON transfers (debit_account_id, credit_account_id)
    WHERE phase IN ('posted', 'post');
-- Whether the same amount went to the same payee just before.
CREATE INDEX transfers_alike
    ON transfers (debit_account_id, credit_account_id, amount_minor, created_at)
    WHERE kind = 'transfer' AND phase IN ('posted', 'pending');

-- A person's words, outside the hash chain so that they can be erased.
CREATE TABLE transfer_texts (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    payee TEXT,
    -- The number behind a name in `payee`, of a customer; with + where the payer typed it themselves.
    payee_number TEXT,
    memo TEXT
);

CREATE TABLE postings (
    transfer_id INTEGER NOT NULL REFERENCES transfers (id),
    account_id INTEGER NOT NULL REFERENCES accounts (id),
    amount_minor INTEGER NOT NULL CHECK (amount_minor <> 0),  -- into the account; negative: out of it
    PRIMARY KEY (transfer_id, account_id)
) WITHOUT ROWID;
-- An account's sum by this index alone.
CREATE INDEX postings_by_account ON postings (account_id, transfer_id, amount_minor);

-- What the rows above add up to, kept beside them so that no balance is ever a scan.
CREATE TABLE balances (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (id),
    posted_minor INTEGER NOT NULL DEFAULT 0,
    held_minor INTEGER NOT NULL DEFAULT 0
);

-- The pending transfers that nothing has ended, kept beside the ledger as the balances are.
CREATE TABLE holds (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    debit_account_id INTEGER NOT NULL REFERENCES accounts (id),
    credit_account_id INTEGER NOT NULL REFERENCES accounts (id)
);
CREATE INDEX holds_by_debit ON holds (debit_account_id);
CREATE INDEX holds_by_credit ON holds (credit_account_id);

-- Up to which row the ledger has been verified. It only spares work: the daily audit starts anew.
CREATE TABLE ledger_checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    transfer_id INTEGER NOT NULL,
    hash TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE TRIGGER transfers_are_not_edited BEFORE UPDATE ON transfers
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfers_are_not_deleted BEFORE DELETE ON transfers
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_are_not_edited BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER postings_are_not_deleted BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- INSERT OR REPLACE deletes what is in its way without asking the triggers against deletion.
CREATE TRIGGER transfers_are_not_replaced BEFORE INSERT ON transfers
WHEN EXISTS (SELECT 1 FROM transfers WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM transfers WHERE hash = NEW.hash)
    OR EXISTS (SELECT 1 FROM transfers
               WHERE cause_kind = NEW.cause_kind AND cause_key = NEW.cause_key)
    OR (NEW.phase IN ('post', 'void', 'expire') AND EXISTS (
        SELECT 1 FROM transfers
        WHERE target_id = NEW.target_id AND phase IN ('post', 'void', 'expire')))
    OR (NEW.kind = 'reversal' AND EXISTS (
        SELECT 1 FROM transfers WHERE target_id = NEW.target_id AND kind = 'reversal'))
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER transfers_continue_the_chain BEFORE INSERT ON transfers
WHEN NEW.previous_hash IS NOT coalesce(
    (SELECT hash FROM transfers ORDER BY id DESC LIMIT 1), printf('%064d', 0))
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row continues the chain'); END;
CREATE TRIGGER transfers_are_whole BEFORE INSERT ON transfers
WHEN typeof(NEW.amount_minor) <> 'integer'
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: amounts are whole'); END;
-- Whose account it is stands outside the chain, and is as good as the money in it.
CREATE TRIGGER accounts_are_not_moved
BEFORE UPDATE OF id, business_id, kind, customer_id, payee_id ON accounts
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an account keeps its owner'); END;
CREATE TRIGGER accounts_are_not_deleted BEFORE DELETE ON accounts
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an account keeps its owner'); END;
CREATE TRIGGER postings_are_not_replaced BEFORE INSERT ON postings
WHEN typeof(NEW.amount_minor) <> 'integer' OR EXISTS (
    SELECT 1 FROM postings WHERE transfer_id = NEW.transfer_id AND account_id = NEW.account_id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- Of transfers no column tells the state: a later row, which names its target, changes it.
CREATE TRIGGER transfers_change_as_allowed BEFORE INSERT ON transfers
WHEN (NEW.phase IN ('post', 'void', 'expire') AND NOT EXISTS (
        SELECT 1 FROM transfers WHERE id = NEW.target_id AND phase = 'pending'))
    OR (NEW.kind = 'reversal' AND NOT EXISTS (
        SELECT 1 FROM transfers t WHERE t.id = NEW.target_id AND (t.phase = 'posted' OR EXISTS (
            SELECT 1 FROM transfers r WHERE r.target_id = t.id
                AND r.phase IN ('post', 'void', 'expire') AND r.phase = 'post'))))
BEGIN SELECT RAISE(ABORT, 'the ledger: only what is pending ends, only what is posted is reversed'); END;

-- Payouts: what the business owes to payees outside, in batches --------------------------------

CREATE TABLE payout_batches (
    id INTEGER PRIMARY KEY,
    business_id TEXT NOT NULL REFERENCES businesses (id),
    created_at TEXT NOT NULL
);
CREATE INDEX payout_batches_by_business ON payout_batches (business_id, id);

-- What a batch pays to one payee.
CREATE TABLE payouts (
    id INTEGER PRIMARY KEY,
    batch_id INTEGER NOT NULL REFERENCES payout_batches (id),
    payee_id INTEGER NOT NULL REFERENCES payees (id),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    state TEXT NOT NULL,
    ended_at TEXT,
    key TEXT,                                               -- the operator's, that ended it
    transfer_id INTEGER UNIQUE REFERENCES transfers (id),   -- what settled it
    UNIQUE (batch_id, payee_id)
);
CREATE INDEX payouts_by_payee ON payouts (payee_id);

-- A transfer is in one batch at most.
CREATE TABLE payout_transfers (
    transfer_id INTEGER PRIMARY KEY REFERENCES transfers (id),
    payout_id INTEGER NOT NULL REFERENCES payouts (id)
);
CREATE INDEX payout_transfers_by_payout ON payout_transfers (payout_id);

-- What an operator's key did: the same key again does nothing.
CREATE TABLE payout_keys (
    business_id TEXT NOT NULL REFERENCES businesses (id),
    key TEXT NOT NULL,
    end_state TEXT NOT NULL,
    batch_id INTEGER NOT NULL REFERENCES payout_batches (id),
    payee_id INTEGER REFERENCES payees (id),                -- none: the whole batch
    at TEXT NOT NULL,
    PRIMARY KEY (business_id, key)
) WITHOUT ROWID;
CREATE INDEX payout_keys_by_batch ON payout_keys (batch_id);

CREATE TRIGGER payouts_are_not_reversed BEFORE INSERT ON transfers
WHEN NEW.kind = 'reversal' AND (
    EXISTS (SELECT 1 FROM payouts WHERE transfer_id = NEW.target_id)
    OR EXISTS (SELECT 1 FROM payout_transfers i JOIN payouts o ON o.id = i.payout_id
        WHERE i.transfer_id = NEW.target_id AND o.state <> 'void'))
BEGIN SELECT RAISE(ABORT, 'the ledger: what is in a payout is given back only by voiding it'); END;

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
    payload TEXT NOT NULL,       -- what is said, in our own form
    state TEXT NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0,
    not_before TEXT,
    wamid TEXT,
    created_at TEXT NOT NULL,
    accepted_at TEXT,
    error TEXT,
    told_at TEXT,                -- when the customer heard that it did not arrive
    UNIQUE (conversation_id, cause, part)
);
CREATE INDEX outbox_unsettled ON outbox (conversation_id, id)
    WHERE state IN ('waiting', 'sending', 'unknown');
CREATE INDEX outbox_in_line ON outbox (id) WHERE state IN ('waiting', 'sending', 'unknown');
CREATE INDEX outbox_by_conversation ON outbox (conversation_id, id);
CREATE INDEX outbox_by_message ON outbox (message_id);
CREATE INDEX outbox_by_wamid ON outbox (wamid);
CREATE INDEX outbox_untold ON outbox (conversation_id, id) WHERE state = 'failed' AND told_at IS NULL;

CREATE TABLE send_attempts (
    id INTEGER PRIMARY KEY,
    outbox_id INTEGER NOT NULL REFERENCES outbox (id),
    number INTEGER NOT NULL,
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    outcome TEXT,
    wamid TEXT,
    code INTEGER,
    detail TEXT,
    UNIQUE (outbox_id, number)
);
CREATE INDEX attempts_open ON send_attempts (id) WHERE closed_at IS NULL;

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
    -- Of a failure; it means what the same code means in an answer: a reply that failed for a passing
    -- reason waits to be sent again, one that failed for good is told of later.
    code INTEGER,
    webhook_id INTEGER REFERENCES webhooks (id),
    UNIQUE (wamid, status, participant)
);
CREATE INDEX statuses_by_outbox ON statuses (outbox_id);
CREATE INDEX statuses_by_webhook ON statuses (webhook_id) WHERE webhook_id IS NOT NULL;

-- Restored copies ------------------------------------------------------------------------------

-- A row is written into each copy by whoever makes it, and by the restore into any other. Until an
-- operator has accepted it, no money moves.
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

-- State machines -------------------------------------------------------------------------------

-- Which state may follow which, as wbot/domain/states.py has it; '' is none yet.
CREATE TABLE state_transitions (
    machine TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    PRIMARY KEY (machine, from_state, to_state)
) WITHOUT ROWID;
INSERT INTO state_transitions (machine, from_state, to_state) VALUES
    ('message', '', 'waiting'), ('message', '', 'silent'),
    ('message', 'waiting', 'begun'), ('message', 'waiting', 'silent'),
    ('message', 'begun', 'answered'), ('message', 'begun', 'silent'),
    ('message', 'begun', 'failed'),
    ('message', 'answered', 'waiting'),
    ('message', 'silent', 'waiting'),
    ('message', 'failed', 'waiting'),
    ('turn', '', 'retry'), ('turn', '', 'blocked'), ('turn', '', 'stopped'),
    ('turn', '', 'answered'), ('turn', '', 'silent'), ('turn', '', 'failed'),
    ('reply', '', 'waiting'),
    ('reply', 'waiting', 'sending'), ('reply', 'waiting', 'accepted'),
    ('reply', 'waiting', 'sent'), ('reply', 'waiting', 'failed'),
    ('reply', 'waiting', 'delivered'), ('reply', 'waiting', 'read'),
    ('reply', 'waiting', 'played'),
    ('reply', 'sending', 'waiting'), ('reply', 'sending', 'unknown'),
    ('reply', 'sending', 'accepted'), ('reply', 'sending', 'sent'),
    ('reply', 'sending', 'failed'), ('reply', 'sending', 'delivered'),
    ('reply', 'sending', 'read'), ('reply', 'sending', 'played'),
    ('reply', 'unknown', 'waiting'), ('reply', 'unknown', 'sending'),
    ('reply', 'unknown', 'accepted'), ('reply', 'unknown', 'sent'), ('reply', 'unknown', 'failed'),
    ('reply', 'unknown', 'delivered'), ('reply', 'unknown', 'read'),
    ('reply', 'unknown', 'played'),
    ('reply', 'accepted', 'waiting'),
    ('reply', 'accepted', 'sent'), ('reply', 'accepted', 'failed'),
    ('reply', 'accepted', 'delivered'), ('reply', 'accepted', 'read'),
    ('reply', 'accepted', 'played'),
    ('reply', 'sent', 'waiting'),
    ('reply', 'sent', 'failed'), ('reply', 'sent', 'delivered'), ('reply', 'sent', 'read'),
    ('reply', 'sent', 'played'),
    ('reply', 'failed', 'waiting'),
    ('reply', 'failed', 'delivered'), ('reply', 'failed', 'read'), ('reply', 'failed', 'played'),
    ('reply', 'delivered', 'read'), ('reply', 'delivered', 'played'),
    ('reply', 'read', 'played'),
    ('send', '', 'accepted'), ('send', '', 'refused'), ('send', '', 'not_sent'),
    ('send', '', 'unknown'),
    ('outside_call', '', 'open'),
    ('outside_call', 'open', 'done'), ('outside_call', 'open', 'unknown'),
    ('outside_call', 'unknown', 'open'),
    ('prompt', '', 'yes'), ('prompt', '', 'no'), ('prompt', '', 'expired'),
    ('payout', '', 'exported'), ('payout', 'exported', 'settled'), ('payout', 'exported', 'void');

CREATE TRIGGER messages_begin_as_allowed BEFORE INSERT ON messages
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'message' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a message does not begin in this state'); END;
CREATE TRIGGER outbox_begin_as_allowed BEFORE INSERT ON outbox
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'reply' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a reply does not begin in this state'); END;
CREATE TRIGGER outside_calls_begin_as_allowed BEFORE INSERT ON outside_calls
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'outside_call' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a call does not begin in this state'); END;
CREATE TRIGGER outside_calls_change_as_allowed BEFORE UPDATE OF state ON outside_calls
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'outside_call' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a call does not change so'); END;
CREATE TRIGGER turns_begin_as_allowed BEFORE INSERT ON turns
WHEN NEW.outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'turn' AND from_state = '' AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a turn does not end so'); END;
CREATE TRIGGER send_attempts_begin_as_allowed BEFORE INSERT ON send_attempts
WHEN NEW.outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'send' AND from_state = '' AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'an attempt to send does not end so'); END;
CREATE TRIGGER prompts_begin_as_allowed BEFORE INSERT ON prompts
WHEN NEW.outcome IS NOT NULL AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'prompt' AND from_state = '' AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a question does not end so'); END;
CREATE TRIGGER payouts_begin_as_allowed BEFORE INSERT ON payouts
WHEN NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'payout' AND from_state = '' AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a payout does not begin in this state'); END;
CREATE TRIGGER messages_change_as_allowed BEFORE UPDATE OF state ON messages
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'message' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a message does not change so'); END;
CREATE TRIGGER outbox_change_as_allowed BEFORE UPDATE OF state ON outbox
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'reply' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a reply does not change so'); END;
CREATE TRIGGER turns_change_as_allowed BEFORE UPDATE OF outcome ON turns
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'turn' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a turn ends once'); END;
CREATE TRIGGER send_attempts_change_as_allowed BEFORE UPDATE OF outcome ON send_attempts
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'send' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'an attempt to send ends once'); END;
CREATE TRIGGER prompts_change_as_allowed BEFORE UPDATE OF outcome ON prompts
WHEN NEW.outcome IS NOT OLD.outcome AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'prompt' AND from_state = coalesce(OLD.outcome, '')
        AND to_state = NEW.outcome)
BEGIN SELECT RAISE(ABORT, 'a question ends once'); END;
CREATE TRIGGER payouts_change_as_allowed BEFORE UPDATE OF state ON payouts
WHEN NEW.state IS NOT OLD.state AND NOT EXISTS (SELECT 1 FROM state_transitions
    WHERE machine = 'payout' AND from_state = OLD.state
        AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'a payout ends once'); END;
