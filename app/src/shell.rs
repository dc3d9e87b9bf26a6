//! The document around the pages.

use leptos::prelude::*;
use leptos_meta::MetaTags;

use crate::App;

/// The icon, in the document: a file of its own would be a request more, whose headers are longer than it is.
fn icon() -> String {
    let drawn = include_str!("../../public/favicon.svg").trim();
    let text = drawn.replace('"', "'").replace('#', "%23").replace('<', "%3C").replace('>', "%3E");
    format!("data:image/svg+xml,{text}")
}

/// The HTML document. No inline style, no inline script but the one that starts the browser's code, which carries the nonce.
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let styles = format!("/{}/{}.css", options.site_pkg_dir, options.output_name);
    let loader = format!("/{}/{}.parts.js", options.site_pkg_dir, options.output_name);
    view! {
        <!DOCTYPE html>
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="icon" type="image/svg+xml" href=icon()/>
                <link rel="stylesheet" href=styles/>
                // Half a table has other columns than the whole: nothing is painted before the page is read.
                <link rel="expect" href="#main" blocking="render"/>
                <HydrationScripts options/>
                // What loads the parts is a module that the page's script imports: known from the start, not found on the way.
                <link rel="modulepreload" href=loader/>
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}
