//! Of the room `lease` what reads the store's answers.

#[path = "../../src/core/lease/etcd/answer.rs"]
pub mod answer;
#[path = "../../src/core/lease/redis/fields.rs"]
pub mod fields;
#[path = "../../src/core/lease/record.rs"]
pub mod record;
#[path = "../../src/core/lease/seal.rs"]
mod seal;

pub use record::{Damaged, Lease, Record, View};
pub use seal::Seal;

pub mod etcd {
    pub use super::answer;
}

pub mod redis {
    pub use super::fields;
}
