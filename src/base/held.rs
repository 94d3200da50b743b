//! What a service leaves with a request for as long as it lasts.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;

/// What a request holds until it is over.
#[derive(Debug, Default)]
pub struct Held {
    /// What is dropped then, such as its place among those who are counted.
    pub place: Option<Box<dyn Any>>,
    /// Who it says that it is from.
    pub user: Option<Rc<User>>,
}

/// Who a request says that it is from.
#[derive(Debug)]
pub struct User {
    name: Box<[u8]>,
    is_known: Cell<bool>,
}

impl User {
    /// The user of this name, whose password has not been checked.
    pub fn new(name: &[u8]) -> User {
        User { name: name.into(), is_known: Cell::new(false) }
    }

    /// The password was right.
    pub fn confirm(&self) {
        self.is_known.set(true);
    }

    /// The name, if the password was right.
    pub fn name(&self) -> Option<&[u8]> {
        self.is_known.get().then_some(&*self.name)
    }
}
