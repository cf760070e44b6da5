//! Which part of the log a follower gets, and what it hears, on real logs.
