//! Of the room `pipeline` what is read back of slots that move.

#[path = "../../src/core/pipeline/crossing/windows.rs"]
pub mod windows;
#[path = "../../src/core/pipeline/crossing/written.rs"]
pub mod written;

pub mod crossing {
    pub use super::{windows, written};
}
