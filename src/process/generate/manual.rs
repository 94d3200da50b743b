//! Manual pages, as man(1) reads them.

use clap::Command;
use clap_mangen::Man;

use super::Named;
use crate::process::config_file;
use crate::process::site_settings;

/// What the table does not know, in the language of man(7), behind the options of tidemill(1).
const SIGNALS_AND_STATUS: &str = r#".SH SIGNALS
.TP
\fBTERM\fR, \fBQUIT\fR, \fBINT\fR
Stop: close the listeners, finish the requests in flight within \-\-drain\-timeout, exit. A second INT stops at once.
.TP
\fBHUP\fR
Read the certificates, and the file of \-\-upstream\-ca, again.
.TP
\fBUSR1\fR
Open the access log and the capture anew, for log rotation.
.SH "EXIT STATUS"
.TP
\fB0\fR
All requests in flight were finished.
.TP
\fB1\fR
The system refused something: an address is in use, or a file cannot be opened.
.TP
\fB2\fR
The command line or the environment is wrong.
.TP
\fB3\fR
The server has stopped, and cut requests that took longer than \-\-drain\-timeout.
"#;

/// tidemill(1), and a page for each command.
pub(super) fn pages(whole: &Command) -> Vec<Named> {
    let server = whole.clone().override_usage("tidemill [OPTIONS] [ROOT]\ntidemill COMMAND ...");
    let own = page(&server.mut_args(|argument| argument.hide_env(false).hide_env_values(true)), SIGNALS_AND_STATUS);
    let mut pages = vec![("tidemill.1".into(), own)];
    for command in whole.get_subcommands() {
        let name = format!("tidemill-{}.1", command.get_name());
        pages.push((name, page(&without_settings(command, whole), "")));
    }
    pages
}

/// A command that takes the server's settings, too, does not repeat what tidemill(1) says of them.
pub(super) fn without_settings(command: &Command, whole: &Command) -> Command {
    let has = |command: &Command, id: &str| command.get_arguments().any(|argument| argument.get_id() == id);
    if !has(command, "root") {
        return command.clone();
    }
    command.clone().mut_args(|argument| {
        let is_hidden = argument.get_long() != Some("help") && has(whole, argument.get_id().as_str());
        argument.hide(is_hidden)
    })
}

/// The page of a command, with this text behind its options.
fn page(command: &Command, more: &str) -> String {
    let manual = Man::new(command.clone()).source(concat!("tidemill ", env!("CARGO_PKG_VERSION"))).manual("tidemill");
    let mut page = Vec::new();
    let rendered = manual.render_title(&mut page).and_then(|()| {
        manual.render_name_section(&mut page)?;
        manual.render_synopsis_section(&mut page)?;
        manual.render_description_section(&mut page)?;
        manual.render_options_section(&mut page)?;
        page.extend_from_slice(more.as_bytes());
        if !more.is_empty() {
            page.extend_from_slice(keys().as_bytes());
        }
        if command.has_subcommands() {
            manual.render_subcommands_section(&mut page)?;
        }
        Ok(())
    });
    rendered.expect("memory takes everything");
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if let Some(notes) = command.get_after_help() {
        page.push_str(".SH NOTES\n");
        notes.to_string().lines().for_each(|line| page.push_str(&format!("{}\n.br\n", text(line))));
    }
    page
}

/// The keys of a site and of a route that are no flags.
fn keys() -> String {
    let mut page = String::from(
        ".SH \"SITES AND ROUTES\"\nThe file of \\-\\-config may have any number of [[site]], and behind each its [[site.route]]. \
         The keys of the flags about a folder may stand in both, and these:\n",
    );
    let (site, route) = (site_settings::site_keys(), site_settings::route_keys());
    let mut seen: Vec<String> = Vec::new();
    for argument in site.get_arguments().chain(route.get_arguments()) {
        let key = config_file::key(argument).filter(|key| argument.get_env().is_none() && !seen.contains(key));
        if let Some(key) = key {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!(".TP\n\\fB{}\\fR\n{}\n", text(&key), text(&help)));
            seen.push(key);
        }
    }
    page
}

/// A line that is text to troff: no hyphen is a dash, and nothing is a request.
fn text(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_request() {
        assert_eq!(text("a-b \\c"), "a\\-b \\ec");
        assert_eq!((text(".SH"), text("'a'"), text("a.")), ("\\&.SH".into(), "\\&'a'".into(), "a.".into()));
    }
}
