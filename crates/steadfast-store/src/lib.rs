//! The one door to SQLite and PostgreSQL: transactions, migrations, nodes, leases with fencing terms.
#![forbid(unsafe_code)]
