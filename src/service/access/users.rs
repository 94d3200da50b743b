//! Users and the hashes of their passwords, as `htpasswd` writes them.
//!
//! Only hashes that are made to be slow are read: bcrypt and argon2. Whoever gets at a file of the others (MD5, SHA-1, crypt)
//! tries millions of passwords a second.

use std::collections::HashMap;
use std::path::Path;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier};
use sha2::{Digest, Sha256};

use super::lines::{FileError, LineError, lines, read};

/// The highest cost of bcrypt: 2^14 rounds, which take about a second. A check holds a thread that others wait for.
const BCRYPT_COST_MAX: u32 = 14;
/// The most memory of argon2, in KiB. RFC 9106 §4 recommends as much where there is little: each thread that checks passwords
/// takes it.
const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
/// The most work of argon2, memory in KiB times passes: about a second, as with bcrypt.
const ARGON2_WORK_MAX: u64 = 512 * 1024;

/// How to make a line that can be read.
const ADVICE: &str = "make the line with `htpasswd -B -C 10 FILE USER`";

/// The users of a file. Job threads check passwords with it.
#[derive(Debug)]
pub struct Users {
    /// The place of each among the hashes.
    by_name: HashMap<Box<str>, usize>,
    hashes: Vec<Hash>,
    /// SHA-256 of the file, to know it again.
    fingerprint: [u8; 32],
}

/// A hash, as it was written.
#[derive(Debug)]
enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<str>),
}

/// Whose hash a password is checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// That of the user with this number, from 0.
    Known(usize),
    /// There is no such user. The hash of another one takes as long as that of a user who is there: who guesses names learns
    /// nothing.
    Unknown(usize),
}

impl Users {
    /// Reads a file. Blocks.
    ///
    /// # Errors
    /// It cannot be read, or a line is wrong.
    pub fn read(path: &Path) -> Result<Users, FileError> {
        read(path, Users::parse)
    }

    /// The users of a file with these bytes: `USER:HASH` a line. What stands behind another colon is a comment, as with nginx.
    ///
    /// # Errors
    /// A line is wrong, or there is none.
    pub fn parse(bytes: &[u8]) -> Result<Users, LineError> {
        let mut users =
            Users { by_name: HashMap::new(), hashes: Vec::new(), fingerprint: Sha256::digest(bytes).into() };
        for line in lines(bytes) {
            let (number, line) = line?;
            users.add(line).map_err(|what| LineError { line: number, what })?;
        }
        if users.hashes.is_empty() {
            return Err(LineError { line: 0, what: format!("there is no user in it; {ADVICE}") });
        }
        Ok(users)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (name, rest) = line.split_once(':').ok_or_else(|| format!("expected USER:HASH; {ADVICE}"))?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("the name of the user is empty, or has control characters".into());
        }
        let hash = Hash::parse(rest.split(':').next().unwrap_or(rest))?;
        if self.by_name.insert(name.into(), self.hashes.len()).is_some() {
            return Err(format!("the user {name:?} is there twice"));
        }
        self.hashes.push(hash);
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    /// Two files with the same bytes have the same.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whose hash the password of this user is checked with. Of users who are not there, `random` chooses.
    pub fn account(&self, user: &[u8], random: u64) -> Account {
        let known = std::str::from_utf8(user).ok().and_then(|user| self.by_name.get(user));
        known.map_or(Account::Unknown(random as usize % self.hashes.len()), |number| Account::Known(*number))
    }

    /// Whether this is the password of the account. Takes as long as the hash is made to take, up to about a second.
    pub fn verify(&self, account: Account, password: &[u8]) -> bool {
        let (Account::Known(number) | Account::Unknown(number)) = account;
        let is_right = self.hashes.get(number).is_some_and(|hash| hash.verify(password));
        is_right && matches!(account, Account::Known(_))
    }
}

impl Hash {
    fn parse(text: &str) -> Result<Hash, String> {
        if text.starts_with("$2") {
            return bcrypt_hash(text);
        }
        if text.starts_with("$argon2") {
            return argon2_hash(text);
        }
        let kind = match text {
            "" => return Err(format!("there is no hash behind the name; {ADVICE}")),
            _ if text.starts_with("{SHA}") => "SHA-1, and",
            _ if text.starts_with("{SSHA}") => "salted SHA-1, and",
            _ if text.starts_with("{PLAIN}") => "a password as it is, and",
            _ if text.starts_with("$apr1$") || text.starts_with("$1$") => "MD5, and",
            _ if text.starts_with("$5$") || text.starts_with("$6$") => "crypt with SHA-2, which is not read, and",
            _ => "crypt, a password as it is, or something else, and",
        };
        Err(format!("this is {kind} only bcrypt ($2y$) and argon2 are read, because they are slow to guess; {ADVICE}"))
    }

    /// Whether it is the hash of this password. Both crates compare in constant time.
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
            Hash::Argon2(text) => Argon2::default().verify_password(password, text.as_ref()).is_ok(),
        }
    }
}

fn bcrypt_hash(text: &str) -> Result<Hash, String> {
    let parts = text.parse::<bcrypt::HashParts>().ok().filter(|_| !text.starts_with("$2x"));
    match parts.map(|parts| parts.get_cost()) {
        Some(4..=BCRYPT_COST_MAX) => Ok(Hash::Bcrypt(text.into())),
        Some(cost) if cost > BCRYPT_COST_MAX => Err(format!(
            "the cost of the hash is {cost}, and may be {BCRYPT_COST_MAX} at most: each check would take seconds; {ADVICE}"
        )),
        _ => Err(format!("this is no hash of bcrypt; {ADVICE}")),
    }
}

fn argon2_hash(text: &str) -> Result<Hash, String> {
    const MAKE: &str = "make it with `argon2 SALT -id -e -m 15 -t 2 -p 1`";
    let malformed = || format!("this is no hash of argon2; {MAKE}");
    let hash = PasswordHash::new(text).map_err(|_| malformed())?;
    match hash.algorithm.as_str() {
        "argon2id" | "argon2i" => {}
        "argon2d" => return Err(format!("argon2d is not made for passwords (RFC 9106 §4); {MAKE}")),
        _ => return Err(malformed()),
    }
    let params = Params::try_from(&hash).map_err(|_| malformed())?;
    if hash.salt.is_none() || hash.hash.is_none() || !matches!(hash.version, None | Some(0x10 | 0x13)) {
        return Err(malformed());
    }
    let (memory, passes) = (params.m_cost(), params.t_cost());
    if memory > ARGON2_MEMORY_KIB_MAX {
        return Err(format!(
            "m={memory} KiB is more than {ARGON2_MEMORY_KIB_MAX}: each check would take so much; {MAKE}"
        ));
    }
    if u64::from(memory) * u64::from(passes) > ARGON2_WORK_MAX {
        return Err(format!(
            "m={memory} times t={passes} is more than {ARGON2_WORK_MAX}: each check would take seconds; {MAKE}"
        ));
    }
    Ok(Hash::Argon2(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `htpasswd -nbB -C 4`, by the bcrypt package of Python, and by argon2-cffi, which calls the reference
    /// implementation.
    const FILE: &str = "\
# people
alice:$2y$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW
amy:$2a$04$BDRkPW9NAt.tDRlFEnNFRu4IUqanEwmJqP416U5vNhHbaSBqsu5Pm:the first\r

  anna:$2b$04$XQ7I47uj3fhfchGQE30MjOAtyHvHXnRhtz.gcbEEC2Kcv3I.Cul5u
ida:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$T/FMwgVDsa+vodsyYtYu9oWOdVws2Eb9MpJbIB8lZO4
ivo:$argon2i$v=19$m=128,t=2,p=2$c29tZXNhbHQxMjM0NTY3OA$dc66JzpzAPMTMR8FwbYYl1F4U+ae9kHbfqv9jzPo79g
jürgen:$2y$04$aJU6f5p1QnnB3YIXoCV6nOYRJsyOncu72wK.j5LKPzvOc4phCUQZy
lena:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$+JYjlUcRoazEkwZY0uekLJDVa5Ow4wXd4+GD6YINjRc
empty:$2y$04$g3VxBcCJ3OQQX08RuFMbIOyC6XHaaGaOEu9deaSBvJYRZzUkEZaVC
";

    fn verify(users: &Users, name: &str, password: &str) -> bool {
        users.verify(users.account(name.as_bytes(), 5), password.as_bytes())
    }

    #[test]
    fn hashes_of_other_programs_are_checked() {
        let users = Users::parse(FILE.as_bytes()).unwrap();
        assert_eq!(users.count(), 8);
        for name in ["alice", "amy", "anna", "ida", "ivo"] {
            assert!(verify(&users, name, "open sesame"), "{name}");
            for wrong in ["", "open sesam", "open sesame ", "Open sesame", "naïve: pass"] {
                assert!(!verify(&users, name, wrong), "{name} {wrong}");
            }
        }
        for name in ["jürgen", "lena"] {
            assert!(verify(&users, name, "naïve: pass") && !verify(&users, name, "naive: pass"), "{name}");
        }
        assert!(verify(&users, "empty", "") && !verify(&users, "empty", "\0x"));
    }

    #[test]
    fn nobody_gets_in_as_a_user_who_is_not_there() {
        let users = Users::parse(FILE.as_bytes()).unwrap();
        for random in 0..8 {
            let account = users.account(b"mallory", random);
            assert_eq!(account, Account::Unknown(random as usize), "each hash may be the one that is checked");
            let right = ["open sesame", "naïve: pass", ""];
            assert!(right.iter().all(|password| !users.verify(account, password.as_bytes())));
        }
        assert!(matches!(users.account(b"alice\xff", u64::MAX), Account::Unknown(_)));
        assert_eq!(users.account("jürgen".as_bytes(), 0), Account::Known(5));
    }

    #[test]
    fn equal_files_are_known_again() {
        let fingerprint = |text: &str| Users::parse(text.as_bytes()).unwrap().fingerprint();
        assert_eq!(fingerprint(FILE), fingerprint(FILE));
        assert_ne!(fingerprint(FILE), fingerprint(&format!("{FILE}# changed")));
    }

    fn fault(text: &str) -> (usize, String) {
        let error = Users::parse(text.as_bytes()).unwrap_err();
        (error.line, error.what)
    }

    #[test]
    fn other_hashes_are_refused_with_their_line_and_a_way_out() {
        for (hash, kind) in [
            ("$apr1$hryEp9mP$SvkQ5xs8.HYZ8UsmIpppS0", "this is MD5, and only bcrypt"),
            ("{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "this is SHA-1, and only"),
            ("{SSHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "this is salted SHA-1, and only"),
            ("{PLAIN}x", "this is a password as it is, and only"),
            ("RQ2Dukdk3db3I", "this is crypt, a password as it is, or something else, and only"),
            ("$5$5pXlnpjQnXqPZAzt$JqHwvTtBgcw3CYTDyZt4wN9ybZjFsEUbgQ0oSJgAge/", "this is crypt with SHA-2"),
            ("", "there is no hash"),
            ("$2y$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ul", "this is no hash of bcrypt"),
            ("$2x$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW", "this is no hash of bcrypt"),
            ("$2y$03$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW", "this is no hash of bcrypt"),
        ] {
            let (line, what) = fault(&format!("# first\n\nbob:{hash}\n"));
            assert_eq!(line, 3);
            assert!(what.starts_with(kind) && what.ends_with(ADVICE), "{what}");
            assert!(hash.len() < 3 || !what.contains(hash), "it may be a password: {what}");
        }
    }

    #[test]
    fn a_hash_that_would_take_too_long_is_refused() {
        let bcrypt = |cost| format!("bob:$2y${cost}$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW");
        assert!(Users::parse(bcrypt(14).as_bytes()).is_ok());
        assert!(fault(&bcrypt(15)).1.starts_with("the cost of the hash is 15, and may be 14 at most"));
        let argon2 = |kind: &str, params: &str| {
            format!("bob:${kind}${params}$c29tZXNhbHQxMjM0NTY3OA$T/FMwgVDsa+vodsyYtYu9oWOdVws2Eb9MpJbIB8lZO4")
        };
        for params in ["v=19$m=65536,t=3,p=4", "v=19$m=65536,t=8,p=1", "v=16$m=4096,t=3,p=1"] {
            assert!(Users::parse(argon2("argon2id", params).as_bytes()).is_ok(), "{params}");
        }
        for (kind, params, told) in [
            ("argon2id", "v=19$m=65537,t=1,p=1", "m=65537 KiB is more than 65536"),
            ("argon2id", "v=19$m=65536,t=9,p=1", "m=65536 times t=9 is more than 524288"),
            ("argon2id", "v=19$m=4294967295,t=4294967295,p=1", "m=4294967295 KiB"),
            ("argon2d", "v=19$m=4096,t=3,p=1", "argon2d is not made for passwords"),
            ("argon2x", "v=19$m=4096,t=3,p=1", "this is no hash of argon2"),
            ("argon2id", "v=20$m=4096,t=3,p=1", "this is no hash of argon2"),
            ("argon2id", "v=19$m=4096,t=0,p=1", "this is no hash of argon2"),
            ("argon2id", "v=19$m=4096,q=3", "this is no hash of argon2"),
        ] {
            let (line, what) = fault(&argon2(kind, params));
            assert!(line == 1 && what.starts_with(told), "{kind} {params}: {what}");
        }
        assert!(fault("bob:$argon2id$v=19$m=64,t=1,p=1").1.starts_with("this is no hash of argon2"));
    }

    #[test]
    fn a_line_that_is_no_user_is_refused() {
        let line = "alice:$2y$04$VCtijXKuUqZrMsfEZnjpQOZ8s8KIYxJc4bULqRqbjJkCOhWpY1ulW";
        assert_eq!(fault("alice").0, 1);
        assert_eq!(fault(&format!("{line}\n{line}")), (2, "the user \"alice\" is there twice".into()));
        assert_eq!(fault(&format!(":{line}")).0, 1);
        assert!(fault("# nobody\n\n").1.starts_with("there is no user in it"));
        assert_eq!(fault("").0, 0);
        let error = Users::parse(b"# a\nb\xffb:x").unwrap_err();
        assert_eq!(error, LineError { line: 2, what: "this is not UTF-8".into() });
    }

    #[test]
    fn a_file_is_named_with_its_line() {
        let missing = Users::read(Path::new("/nowhere/users")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nowhere/users: "), "{missing}");
        let path = std::env::temp_dir().join(format!("tidemill-users-{}", std::process::id()));
        std::fs::write(&path, "a:b").unwrap();
        let told = Users::read(&path).unwrap_err().to_string();
        std::fs::write(&path, FILE).unwrap();
        let count = Users::read(&path).map(|users| users.count());
        std::fs::remove_file(&path).unwrap();
        assert!(told.starts_with(&format!("{}:1: this is crypt", path.display())), "{told}");
        assert_eq!(count.unwrap(), 8);
    }
}
