-- What an endpoint takes for a model, found out from its refusals; kept for a week.
CREATE TABLE model_dialects (
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    dialect TEXT NOT NULL,
    learned_at TEXT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;
