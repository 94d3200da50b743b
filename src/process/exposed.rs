//! Secrets that lie in a folder that is served: whoever asks for them by name gets them.

use std::fs;
use std::path::{Path, PathBuf};

use super::settings::Settings;

/// A line for each file of users, tokens or keys that lies in a folder that is served.
pub(super) fn notices(settings: &Settings) -> Vec<String> {
    let of_routes = settings.site_routes().map(|route| (&route.answers.root, route.answers.files.hidden));
    let folders = of_routes.chain([(&settings.root, settings.files.hidden)]);
    let folders: Vec<(PathBuf, bool)> =
        folders.filter_map(|(root, shows_hidden)| Some((real(root.as_deref()?), shows_hidden))).collect();
    let of_rest = settings.sites.iter().flat_map(|site| &site.rest);
    let of_routes = settings.site_routes().chain(of_rest).map(|route| &route.answers.access);
    let of_access = of_routes.chain([&settings.access]);
    let secrets = of_access.flat_map(|access| access.files()).chain(settings.tls.key_files());
    let mut lines = Vec::new();
    for secret in secrets {
        let path = real(secret);
        if folders.iter().any(|(folder, shows_hidden)| is_served(&path, folder, *shows_hidden)) {
            let line = format!("{} lies in a folder that is served: everyone can ask for it", secret.display());
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// The path without links, if it is there.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether the file is beneath the folder, or is the one that is served, and no part of its name there is hidden.
fn is_served(file: &Path, folder: &Path, shows_hidden: bool) -> bool {
    let Ok(beneath) = file.strip_prefix(folder) else { return false };
    shows_hidden || !beneath.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beneath_a_folder_and_not_hidden_is_served() {
        for (file, folder, shows_hidden, expected) in [
            ("/srv/www/users", "/srv/www", false, true),
            ("/srv/www/a/users", "/srv/www", false, true),
            ("/srv/www", "/srv/www", false, true),
            ("/srv/users", "/srv/www", false, false),
            ("/srv/www-users", "/srv/www", false, false),
            ("/srv/www/.htpasswd", "/srv/www", false, false),
            ("/srv/www/.git/users", "/srv/www", false, false),
            ("/srv/www/.htpasswd", "/srv/www", true, true),
            ("/srv/.www/users", "/srv/.www", false, true),
        ] {
            assert_eq!(is_served(Path::new(file), Path::new(folder), shows_hidden), expected, "{file} {folder}");
        }
    }
}
