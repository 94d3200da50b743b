//! Foundations that know no protocol: rings, slots, timers, limits, jobs, and files beneath a root.

pub mod disk;
pub mod job_pool;
pub mod lease;
pub mod limits;
pub mod moment;
pub mod notice;
pub mod peer;
pub mod ring;
pub mod slots;
pub mod stats;
pub mod throttle;
pub mod timer_wheel;
