//! The live page, and the same as it stands once: for pictures, for paper, and without scripts.

use std::rc::Rc;
use std::sync::Arc;

use super::inspect::{Format, Inspection};
use super::inspection_queue::{Asked, InspectionQueue};
use super::{AskKernel, connections, now};
use crate::http::body::{Body, Failure};
use crate::http::exchange::{Cx, Reply};
use crate::http::media_type::HTML;
use crate::http::message::{RequestHead, Response};
use crate::http::status::Status;
use crate::observe::report::{KernelReport, Overview};
use crate::service::router::{Handler, Params};

const PAGE: &str = include_str!("page.html");
/// Where the page has its data, if it has them from the beginning.
const DATA: &str = "<!-- data -->";

/// `GET /`: the live page, which asks for `/events`. With `?static` it has its data in itself and asks for nothing.
pub fn page(inspections: &Rc<InspectionQueue>, ask_kernel: &AskKernel) -> impl Handler + use<> {
    let (inspections, ask_kernel) = (Rc::clone(inspections), Arc::clone(ask_kernel));
    move |request: &RequestHead<'_>, _: &Params<'_>, cx: &mut Cx<'_>| -> Result<Reply, Failure> {
        if request.target.query_parameter("static").is_none() {
            let page = Body::from_static(PAGE.as_bytes());
            return Ok(Reply::Respond(Response::new(Status::OK).with_content(HTML, page)));
        }
        let question = inspections.ask(cx.local_waker(), Asked::Overview);
        Ok(Reply::Decide(Box::new(Inspection::new(question, Format::Page, Arc::clone(&ask_kernel)))))
    }
}

/// The page with its data in it, and as text for browsers that run no scripts.
pub fn still(overview: &Overview, kernel: &KernelReport) -> String {
    let json = in_script(&now::json(overview, kernel));
    let text = in_markup(&texts(overview, kernel));
    let data = format!(
        "<script type=\"application/json\" id=\"data\">{json}</script>\n<noscript><pre>{text}</pre></noscript>"
    );
    PAGE.replacen(DATA, &data, 1)
}

/// What is wrong, and the connections that are listed.
fn texts(overview: &Overview, kernel: &KernelReport) -> String {
    let mut text = now::text(overview, kernel);
    for connection in &overview.listed {
        text.push('\n');
        let kernel = connections::kernel_of(connection, kernel);
        connections::write_paragraph(&mut text, connection, kernel).expect("writing to a String cannot fail");
    }
    text
}

/// Nothing in a script begins a tag, so nothing can end it. In JSON this character stands in strings alone.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

fn in_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_send_ends_neither_a_script_nor_an_element() {
        assert_eq!(in_script(r#"{"a":"</script><b>"}"#), r#"{"a":"\u003c/script>\u003cb>"}"#);
        assert_eq!(in_markup("</pre>&amp;<i>"), "&lt;/pre&gt;&amp;amp;&lt;i&gt;");
        assert_eq!(PAGE.matches(DATA).count(), 1, "there is one place for the data");
    }
}
