//! Of the room `catalog` what is written, without the database.

#[path = "../../src/core/catalog/record.rs"]
pub mod record;
#[path = "../../src/core/catalog/row.rs"]
pub mod row;
#[path = "../../src/core/catalog/written.rs"]
pub mod written;
