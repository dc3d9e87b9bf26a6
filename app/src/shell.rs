//! The document around the pages.

use leptos::prelude::*;
use leptos_meta::MetaTags;

use crate::App;

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
                <link rel="icon" type="image/svg+xml" href="/favicon.svg"/>
                <link rel="stylesheet" href=styles/>
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
