//! The model itself: edge-triggered epoll and TCP as measured on Linux.
