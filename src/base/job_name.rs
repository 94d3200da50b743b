//! What a job is called: what it does, to what, and for whom.

use std::fmt::{self, Display, Formatter};

/// What a job may have to wait for. There is always a thread that runs no slow job (if there is more than one), so that
/// whatever the slow ones wait for, quick ones get on. Jobs that ask about names, or check passwords, have threads of their
/// own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Microseconds, or one access to a disk: open a file, look at it, read a piece.
    Quick,
    /// Milliseconds and more: list a directory, compress a file.
    Slow,
    /// Other machines, for seconds: ask a name server.
    Names,
    /// The processor alone, for up to a second: check a password.
    Passwords,
}

impl Lane {
    /// All of them, each at its place: `ALL[lane as usize]` is `lane`.
    pub const ALL: [Lane; 4] = [Lane::Quick, Lane::Slow, Lane::Names, Lane::Passwords];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Quick => "quick",
            Lane::Slow => "slow",
            Lane::Names => "names",
            Lane::Passwords => "passwords",
        }
    }
}

/// Makes the kinds, `ALL` of them, their names and their lanes from one list, so that none can be missing anywhere.
macro_rules! job_kinds {
    ($($(#[$meaning:meta])* $kind:ident $lane:ident $name:literal;)*) => {
        /// What a job does; a closed set, made to be printed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum JobKind {
            $($(#[$meaning])* $kind,)*
        }

        impl JobKind {
            /// How many there are.
            pub const COUNT: usize = [$($name),*].len();

            /// All of them, each at its place: `ALL[kind as usize]` is `kind`.
            pub const ALL: [JobKind; JobKind::COUNT] = [$(JobKind::$kind),*];

            /// As it is printed.
            pub fn name(self) -> &'static str {
                match self {
                    $(JobKind::$kind => $name,)*
                }
            }

            /// What it may have to wait for.
            pub fn lane(self) -> Lane {
                match self {
                    $(JobKind::$kind => Lane::$lane,)*
                }
            }
        }
    };
}

job_kinds! {
    /// Looks for a file, and opens it.
    LookUp Quick "look-up";
    /// Looks again for a file that is served meanwhile. Nobody waits for it.
    Refresh Quick "refresh";
    /// Reads a part of a file, because it is not in memory.
    Read Quick "read";
    /// Asks the kernel about sockets.
    Kernel Quick "kernel";
    /// Looks at the files of TLS. Nobody waits for it.
    Certificates Quick "certificates";
    /// Reads the configuration, and what it names. Nobody waits for it on a connection.
    Configuration Slow "configuration";
    /// Lists a directory.
    List Slow "list";
    /// Reads a file to make its entity tag.
    Hash Slow "hash";
    /// Compresses a file.
    Compress Slow "compress";
    /// Decompresses a file of which only a compressed form is there.
    Decompress Slow "decompress";
    /// Asks for the addresses of a name.
    Resolve Names "resolve";
    /// Checks a password.
    Password Passwords "password";
}

impl JobKind {
    /// Whether it wakes somebody who needs its result to go on.
    pub fn is_waited_for(self) -> bool {
        !matches!(self, JobKind::Refresh | JobKind::Certificates | JobKind::Configuration)
    }
}

/// The most bytes of a subject that are kept.
const SUBJECT_BYTES_MAX: usize = 120;

/// What a job is called. It is printed as its kind and its subject, escaped: `look-up /a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobName {
    /// What it does.
    pub kind: JobKind,
    /// To what: the beginning of a path, mostly.
    subject: Box<[u8]>,
    is_cut: bool,
    /// Who asked for it first; `None`: the server itself.
    pub requester: Option<Requester>,
}

/// Who asks for a job. It is printed as `c=7`, on HTTP/2 as `c=7 s=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester {
    /// The connection's number.
    pub connection: u64,
    /// Which of its streams. HTTP/1 has one, which is always 0.
    pub stream: u32,
}

impl JobName {
    /// A job of this kind. Of a long subject only the beginning is kept.
    pub fn new(kind: JobKind, subject: &[u8], requester: Option<Requester>) -> JobName {
        let kept = &subject[..subject.len().min(SUBJECT_BYTES_MAX)];
        JobName { kind, subject: kept.into(), is_cut: kept.len() < subject.len(), requester }
    }

    /// To what it does it, escaped; empty if there is nothing to tell.
    pub fn subject(&self) -> impl Display {
        let cut = if self.is_cut { "..." } else { "" };
        fmt::from_fn(move |f| write!(f, "{}{cut}", self.subject.escape_ascii()))
    }
}

impl Display for JobName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if self.subject.is_empty() { Ok(()) } else { write!(f, " {}", self.subject()) }
    }
}

impl Display for Requester {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "c={}", self.connection)?;
        if self.stream == 0 { Ok(()) } else { write!(f, " s={}", self.stream) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_bounded_whatever_the_path() {
        let name = |subject: &[u8]| JobName::new(JobKind::LookUp, subject, None).to_string();
        assert_eq!(name(b"/a b"), "look-up /a b");
        assert_eq!(name(b"/\x1b[31m\n\xff\""), "look-up /\\x1b[31m\\n\\xff\\\"");
        assert_eq!(name(b""), "look-up");
        let longest = [b'x'; SUBJECT_BYTES_MAX];
        assert_eq!(name(&longest), format!("look-up {}", "x".repeat(SUBJECT_BYTES_MAX)));
        assert_eq!(name(&[b'x'; 100_000]), format!("look-up {}...", "x".repeat(SUBJECT_BYTES_MAX)));
    }

    #[test]
    fn kinds_are_at_their_places_and_have_names_of_their_own() {
        for (index, kind) in JobKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(JobKind::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        }
    }

    #[test]
    fn lanes_are_at_their_places() {
        assert!(Lane::ALL.into_iter().enumerate().all(|(index, lane)| lane as usize == index));
    }

    #[test]
    fn a_requester_is_a_connection_and_on_http2_a_stream() {
        assert_eq!(Requester { connection: 7, stream: 0 }.to_string(), "c=7");
        assert_eq!(Requester { connection: 7, stream: 3 }.to_string(), "c=7 s=3");
    }
}
