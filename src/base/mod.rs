//! Foundations that know no protocol: rings, slots, timers, limits.

pub mod lease;
pub mod limits;
pub mod notice;
pub mod ring;
pub mod slots;
pub mod throttle;
pub mod timer_wheel;
