CREATE TABLE account (
  name  TEXT    PRIMARY KEY,
  cents INTEGER NOT NULL DEFAULT 0 CHECK (cents >= 0 OR name = 'bank')
) STRICT;

CREATE TABLE transfer (
  id      INTEGER PRIMARY KEY,
  payer   TEXT    NOT NULL REFERENCES account (name),
  payee   TEXT    NOT NULL REFERENCES account (name),
  cents   INTEGER NOT NULL CHECK (cents > 0),
  memo    TEXT    NOT NULL,
  made_at TEXT    NOT NULL
) STRICT;

CREATE INDEX transfer_payer ON transfer (payer, id);
CREATE INDEX transfer_payee ON transfer (payee, id);
