//! Files that are read again when they have changed, and what the log says about that.

use std::path::Path;
use std::time::SystemTime;

use log::Level;

use super::Occasion;
use super::files::{Files, Stamp, stamps};

/// What is known of the files.
pub(super) struct Watch {
    /// What they are for, as it is logged.
    subject: &'static str,
    /// As they were when they were last read.
    stamps: Vec<Stamp>,
    /// The contents in use.
    hash: [u8; 32],
    /// They are read at the next look, whatever their stamps say.
    again: bool,
    /// What was last said about files that could not be used.
    complaint: Option<String>,
}

impl Watch {
    /// These files are in use, and are for this `subject`. `stood_still`: none of them changed while they were read.
    pub(super) fn new(subject: &'static str, files: &Files, stood_still: bool) -> Watch {
        let again = !stood_still || files.are_fresh(SystemTime::now());
        Watch { subject, stamps: files.stamps(), hash: files.hash(), again, complaint: None }
    }

    /// Looks at the files, and reads them if they have changed or the `occasion` asks for it. Others than those in use are given to
    /// `apply`, which takes them into use and says what they are, or says why they cannot be used: then they are tried again at the
    /// next look. Its warnings are logged if it takes them. This waits for the disk. Returns what is to be logged.
    pub(super) fn look(
        &mut self,
        paths: &[&Path],
        occasion: Occasion,
        apply: impl FnOnce(&Files, &mut dyn FnMut(String)) -> Result<String, String>,
    ) -> Vec<(Level, String)> {
        if occasion == Occasion::Check && !self.again && self.stamps == stamps(paths) {
            return Vec::new();
        }
        let (files, stood_still) = Files::read(paths);
        self.again = !stood_still || files.are_fresh(SystemTime::now());
        self.stamps = files.stamps();
        let (subject, mut news) = (self.subject, Vec::new());
        if files.hash() == self.hash {
            let had_complaint = self.complaint.take().is_some();
            if occasion == Occasion::Order || had_complaint {
                news.push((Level::Info, format!("{subject}: the files were read again and are those in use")));
            }
            return news;
        }
        match apply(&files, &mut |line| news.push((Level::Warn, line))) {
            Ok(told) => {
                news.push((Level::Info, format!("{subject}: new handshakes get what was read again: {told}")));
                (self.hash, self.complaint) = (files.hash(), None);
            }
            Err(mistake) => {
                self.again = true;
                let complaint = format!("{subject}: the files in use stay in use: {mistake}");
                // What was found on the way to a mistake will be said when that is mended.
                news.clear();
                if occasion == Occasion::Order || self.complaint.as_ref() != Some(&complaint) {
                    news.push((Level::Error, complaint.clone()));
                }
                self.complaint = Some(complaint);
            }
        }
        news
    }
}
