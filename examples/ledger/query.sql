-- name: OpenAccount :exec
INSERT INTO account (name) VALUES (?) ON CONFLICT DO NOTHING;

-- name: ChangeBalance :exec
UPDATE account SET cents = cents + ? WHERE name = ?;

-- name: InsertTransfer :one
INSERT INTO transfer (payer, payee, cents, memo, made_at) VALUES (?, ?, ?, ?, ?) RETURNING id;

-- name: ListTransfers :many
SELECT id, payer, payee, cents, memo, made_at FROM transfer WHERE payer = ?1 OR payee = ?1 ORDER BY id DESC LIMIT ?2;
