//! Of the room `verify` its notes.

#[path = "../../src/core/verify/note.rs"]
pub mod note;
#[path = "../../src/core/verify/seen.rs"]
pub mod seen;
