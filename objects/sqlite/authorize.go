package sqlite

import (
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// mayAsk are the PRAGMAs that statements may use, and whether they may have an argument. PRAGMAs that change how the
// connection works are not allowed: the connection is shared by events, and may be closed at any time.
var mayAsk = map[string]bool{
	"table_list": true, "table_info": true, "table_xinfo": true,
	"index_list": true, "index_info": true, "index_xinfo": true,
	"foreign_key_list": true, "foreign_key_check": true, "quick_check": true, "integrity_check": true,
	"optimize": true, "defer_foreign_keys": true, // until the event ends
	"foreign_keys": false, "page_count": false, "freelist_count": false, "page_size": false, "data_version": false, "encoding": false,
	"collation_list": false, "function_list": false, "compile_options": false,
}

// mayMake are the kinds of virtual tables.
var mayMake = map[string]bool{"fts5": true, "fts5vocab": true}

// authorize decides whether an author's statement is allowed, when it is prepared. An event is one transaction, and
// Transact a savepoint in it; a temporary table would outlive a rollback.
func (d *database) authorize(action sqlite3.AuthorizerActionCode, first, second, _, _ string) sqlite3.AuthorizerReturnCode {
	if d.inner {
		return sqlite3.AUTH_OK
	}
	allowed := true
	switch action {
	case sqlite3.AUTH_ATTACH, sqlite3.AUTH_DETACH, sqlite3.AUTH_TRANSACTION, sqlite3.AUTH_SAVEPOINT,
		sqlite3.AUTH_CREATE_TEMP_INDEX, sqlite3.AUTH_CREATE_TEMP_TABLE, sqlite3.AUTH_CREATE_TEMP_TRIGGER, sqlite3.AUTH_CREATE_TEMP_VIEW,
		sqlite3.AUTH_DROP_TEMP_INDEX, sqlite3.AUTH_DROP_TEMP_TABLE, sqlite3.AUTH_DROP_TEMP_TRIGGER, sqlite3.AUTH_DROP_TEMP_VIEW:
		allowed = false
	case sqlite3.AUTH_PRAGMA:
		argument, known := mayAsk[strings.ToLower(first)]
		allowed = known && (argument || second == "")
	case sqlite3.AUTH_CREATE_VTABLE:
		allowed = mayMake[strings.ToLower(second)]
	case sqlite3.AUTH_FUNCTION:
		allowed = !strings.EqualFold(second, "load_extension")
	}
	if allowed {
		return sqlite3.AUTH_OK
	}
	return sqlite3.AUTH_DENY
}
