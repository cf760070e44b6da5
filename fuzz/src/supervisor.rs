//! Of the room `supervisor` what reads members' answers.

#[path = "../../src/core/supervisor/group/peers/answer.rs"]
pub mod answer;

pub mod group {
    pub mod peers {
        pub use super::super::answer;
    }
}
