//! What everyone gets, by the settings.

use std::rc::Rc;

use super::choice::Choice;
use super::descriptors::Shares;
use super::settings::Settings;
use super::trusted_proxies;
use crate::base::moment::Moment;
use crate::service::coding::Coders;
use crate::service::front::Plan;
use crate::service::lab;
use crate::service::proxy::Proxy;
use crate::service::proxy::hub::Hub;
use crate::service::proxy::route::Routes;
use crate::service::router::Router;
use crate::service::sites::Sites;
use crate::service::sites::route::{Public, Route, Target};
use crate::service::static_files::StaticFiles;
use crate::service::status;
use crate::service::websocket::Policy;

/// The plan, and where upstreams are found, if there are any. The error is one line for the user.
pub(super) fn make(settings: &Settings, shares: &Shares) -> Result<(Plan, Option<Rc<Hub>>), String> {
    let coders = Coders::default();
    let (proxy, hub) = proxy(settings, shares).unzip();
    let mut route = Route::new(Target::Content(proxy, public(settings, shares, &coders)?));
    route.cors = settings.cors.as_ref().and_then(Choice::value).cloned();
    route.coders = Some(coders);
    let mut plan = Plan::new(Sites::one(route));
    plan.health = settings.health.then(|| status::health(Router::new()));
    Ok((plan, hub))
}

/// What passes requests on, and where it finds upstreams; `None`: nothing is passed on.
fn proxy(settings: &Settings, shares: &Shares) -> Option<(Proxy, Rc<Hub>)> {
    let routes: Routes = settings.proxy.routes().into_iter().collect();
    routes.iter().next()?;
    let hub = Rc::new(Hub::new(shares.upstreams));
    let targets = hub.replace(routes.iter(), Moment::default());
    Some((Proxy::new(routes, targets, Rc::clone(&hub), trusted_proxies(settings)), hub))
}

/// What everyone gets: the demo site and the lab, or a folder with or without the lab next to it.
fn public(settings: &Settings, shares: &Shares, coders: &Coders) -> Result<Public, String> {
    let websockets = Policy::new(settings.ws_origin.clone(), settings.ws_compressed as usize);
    let Some(root) = &settings.root else { return Ok(Public::Lab(lab::service(websockets))) };
    let site =
        settings.files.site(root, shares).map_err(|error| format!("cannot serve {}: {error}", root.display()))?;
    let lab = settings.lab.then(|| lab::endpoints(websockets));
    Ok(Public::Files(StaticFiles::with_coders(site, coders.clone()), lab))
}
