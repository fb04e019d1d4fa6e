//! One question to a registry, followed through credentials, redirects and tries.
//!
//! ```text
//! ask -> 401 -> challenge -> credential, token -> ask again, once
//!     -> 3xx -> checked -> ask there, with the credential only on the registry itself
//!     -> 429, 5xx, silence -> pause -> ask again, a bounded number of times
//! ```

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
};

use microagent_types::ImageRef;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};
use tokio::sync::OnceCell;

use super::{
    auth_file::Credential,
    challenge::{self, Challenge},
    credentials,
    endpoint::{Policy, Trust, host_of, same_origin},
    error::RegistryError,
    options::{RegistryOptions, Waits},
    retry,
    token::{self, Question},
};

/// Redirects of one question.
const REDIRECTS_MAX: usize = 5;
/// How much of an error's answer is read.
const ERROR_BYTES_MAX: u64 = 16 << 10;
/// How much of it is shown.
const ERROR_SHOWN_CHARACTERS_MAX: usize = 200;
const USER_AGENT: &str = concat!("microagent/", env!("CARGO_PKG_VERSION"));

/// The HTTP library, once for each degree of trust.
#[derive(Debug)]
pub(crate) struct Http {
    clients: Mutex<HashMap<Trust, reqwest::Client>>,
    waits: Waits,
}

impl Http {
    pub(crate) fn new(waits: Waits) -> Self {
        Self {
            clients: Mutex::default(),
            waits,
        }
    }

    fn client(&self, trust: Trust) -> Result<reqwest::Client, RegistryError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&trust) {
            return Ok(client.clone());
        }
        // Refused when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.waits.connect)
            .read_timeout(self.waits.read);
        match trust {
            Trust::Checked => {}
            Trust::Loopback => builder = builder.no_proxy(),
            Trust::Unchecked => builder = builder.tls_danger_accept_invalid_certs(true),
        }
        let client = builder.build().map_err(RegistryError::Client)?;
        clients.insert(trust, client.clone());
        Ok(client)
    }
}

/// A registry, spoken to about one repository.
#[derive(Debug)]
pub(crate) struct Client {
    http: Arc<Http>,
    options: RegistryOptions,
    policy: Policy,
    reference: ImageRef,
    base: OnceCell<Url>,
    credential: OnceCell<Option<Credential>>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Client {
    pub(crate) fn new(http: Arc<Http>, options: RegistryOptions, reference: ImageRef) -> Self {
        Self {
            http,
            policy: Policy::new(options.insecure.clone()),
            options,
            reference,
            base: OnceCell::new(),
            credential: OnceCell::new(),
            authorization: Mutex::default(),
        }
    }

    pub(crate) fn reference(&self) -> &ImageRef {
        &self.reference
    }

    pub(crate) fn waits(&self) -> Waits {
        self.options.waits
    }

    /// A document, in full. `path` is below the repository.
    pub(crate) async fn document(
        &self,
        path: &str,
        accept: &'static str,
        limit_bytes: u64,
    ) -> Result<(Vec<u8>, HeaderMap), RegistryError> {
        let mut failures = 0;
        loop {
            let tried = async {
                let response = self.get(path, accept, 0).await?;
                let headers = response.headers().clone();
                Ok((self.body(response, limit_bytes).await?, headers))
            };
            match tried.await {
                Ok(document) => return Ok(document),
                Err(error) => {
                    failures += 1;
                    match retry::pause(&error, failures, self.waits()) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(error),
                    }
                }
            }
        }
    }

    /// One try: the answer to a question, which is a yes.
    pub(crate) async fn get(
        &self,
        path: &str,
        accept: &'static str,
        from_byte: u64,
    ) -> Result<Response, RegistryError> {
        let base = self.base().await?;
        let url = base
            .join(&format!("v2/{}/{path}", self.reference.repository()))
            .map_err(|_| RegistryError::Redirect {
                host: host_of(&base),
                to: "an address that cannot be read".to_owned(),
            })?;
        let mut has_asked_for_credentials = false;
        loop {
            let (at, response) = self.follow(&base, url.clone(), accept, from_byte).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let is_registry = same_origin(&base, &at);
            if status == StatusCode::UNAUTHORIZED && is_registry && !has_asked_for_credentials {
                has_asked_for_credentials = true;
                if self.authorize(&base, response.headers()).await? {
                    continue;
                }
                return Err(self.refused());
            }
            return Err(match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_registry => self.refused(),
                StatusCode::NOT_FOUND if is_registry => RegistryError::NotFound {
                    reference: self.reference.to_string(),
                },
                _ => self.failed(&at, response).await,
            });
        }
    }

    /// Reads an answer to its end, but not beyond a bound.
    pub(crate) async fn body(
        &self,
        mut response: Response,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let host = host_of(response.url());
        let too_large = || RegistryError::DocumentTooLarge {
            host: host.clone(),
            limit_bytes,
        };
        if response
            .content_length()
            .is_some_and(|len| len > limit_bytes)
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if (bytes.len() + chunk.len()) as u64 > limit_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The next bytes of an answer.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, RegistryError>
    {
        let next = response.chunk().await;
        next.map_err(|error| self.network(&host_of(response.url()), error))
    }

    /// The address that answers, found once.
    async fn base(&self) -> Result<Url, RegistryError> {
        let find = || async {
            let addresses = self.policy.addresses(self.reference.registry());
            let mut last = None;
            for (at, url) in addresses.iter().enumerate() {
                if at + 1 == addresses.len() {
                    return Ok(url.clone());
                }
                // Asked without credentials; whatever it answers, it speaks TLS.
                let question = url.join("v2/").unwrap_or_else(|_| url.clone());
                match self
                    .send(Method::GET, question, HeaderMap::new(), None)
                    .await
                {
                    Ok(_) => return Ok(url.clone()),
                    Err(error @ RegistryError::Certificate { .. }) => return Err(error),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or_else(|| RegistryError::Redirect {
                host: self.reference.registry().to_owned(),
                to: "an address that cannot be read".to_owned(),
            }))
        };
        self.base.get_or_try_init(find).await.cloned()
    }

    /// Asks, and goes where it is sent. The credential goes to the registry and nowhere else.
    async fn follow(
        &self,
        base: &Url,
        url: Url,
        accept: &'static str,
        from_byte: u64,
    ) -> Result<(Url, Response), RegistryError> {
        let mut url = url;
        for _ in 0..=REDIRECTS_MAX {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            if from_byte > 0
                && let Ok(range) = HeaderValue::try_from(format!("bytes={from_byte}-"))
            {
                headers.insert(RANGE, range);
            }
            if same_origin(base, &url)
                && let Some(authorization) = self.authorization()
            {
                headers.insert(AUTHORIZATION, authorization);
            }
            let response = self.send(Method::GET, url.clone(), headers, None).await?;
            if !response.status().is_redirection() {
                return Ok((url, response));
            }
            url = self.next(&url, &response)?;
        }
        Err(RegistryError::Redirect {
            host: host_of(base),
            to: format!("another place more than {REDIRECTS_MAX} times"),
        })
    }

    /// Where a redirect leads.
    fn next(&self, url: &Url, response: &Response) -> Result<Url, RegistryError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| "nowhere".to_owned());
        location
            .and_then(|location| self.policy.redirect(url, location))
            .map_err(|to| RegistryError::Redirect {
                host: host_of(url),
                to,
            })
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        form: Option<String>,
    ) -> Result<Response, RegistryError> {
        let host = host_of(&url);
        let client = self.http.client(self.policy.trust(&url))?;
        let mut request = client.request(method, url).headers(headers);
        if let Some(form) = form {
            request = request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form);
        }
        request
            .send()
            .await
            .map_err(|error| self.network(&host, error))
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Meets a challenge; false when there is nothing to meet it with.
    async fn authorize(&self, base: &Url, headers: &HeaderMap) -> Result<bool, RegistryError> {
        let given = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let challenge = challenge::parse(given).ok_or_else(|| RegistryError::Challenge {
            host: host_of(base),
        })?;
        let credential = self.credential().await?;
        let value = match (challenge, credential) {
            (_, Some(Credential::Registry(token))) => format!("Bearer {token}"),
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                basic(user, password)
            }
            (Challenge::Basic, _) => return Ok(false),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                credential,
            ) => {
                let realm =
                    self.policy
                        .redirect(base, &realm)
                        .map_err(|to| RegistryError::Redirect {
                            host: host_of(base),
                            to,
                        })?;
                let question = token::question(
                    realm,
                    service.as_deref(),
                    scope.as_deref(),
                    self.reference.repository(),
                    credential.as_ref(),
                );
                format!("Bearer {}", self.token(question).await?)
            }
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| RegistryError::NoToken {
            host: host_of(base),
        })?;
        value.set_sensitive(true);
        *self
            .authorization
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(true)
    }

    async fn credential(&self) -> Result<&Option<Credential>, RegistryError> {
        let find = || async {
            let files = self.options.credentials.clone();
            let registry = self.reference.registry().to_owned();
            let repository = self.reference.repository().to_owned();
            let found = tokio::task::spawn_blocking(move || {
                credentials::find(&files, &registry, &repository)
            });
            found.await.unwrap_or(Ok(None))
        };
        self.credential.get_or_try_init(find).await
    }

    /// Asks a token service, and goes where it is sent: without the credential.
    async fn token(&self, question: Question) -> Result<String, RegistryError> {
        let (method, mut url, form, basic_of) = match question {
            Question::Get { url, basic } => (Method::GET, url, None, basic),
            Question::Post { url, form } => (Method::POST, url, Some(form), None),
        };
        let mut headers = HeaderMap::new();
        if let Some((user, password)) = &basic_of
            && let Ok(mut value) = HeaderValue::try_from(basic(user, password))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let origin = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let headers = if same_origin(&origin, &url) {
                headers.clone()
            } else {
                HeaderMap::new()
            };
            let response = self
                .send(method.clone(), url.clone(), headers, form.clone())
                .await?;
            let status = response.status();
            if status.is_redirection() && form.is_none() {
                url = self.next(&url, &response)?;
                continue;
            }
            if status.is_success() {
                let bytes = self.body(response, token::ANSWER_BYTES_MAX).await?;
                return token::answer(&bytes).ok_or_else(|| RegistryError::NoToken {
                    host: host_of(&url),
                });
            }
            let has_credential = form.is_some() || basic_of.is_some();
            return Err(match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_credential => {
                    RegistryError::CredentialsRefused {
                        registry: self.reference.registry().to_owned(),
                        status: status.as_u16(),
                    }
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.refused(),
                _ => self.failed(&url, response).await,
            });
        }
        Err(RegistryError::NoToken {
            host: host_of(&origin),
        })
    }

    /// A plain no.
    fn refused(&self) -> RegistryError {
        let reference = self.reference.to_string();
        match self.credential.get() {
            Some(Some(_)) => RegistryError::Denied {
                registry: self.reference.registry().to_owned(),
                reference,
            },
            _ => RegistryError::NotFound { reference },
        }
    }

    /// Any other answer that is not a yes.
    async fn failed(&self, url: &Url, response: Response) -> RegistryError {
        let host = host_of(url);
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(retry::retry_after);
            return RegistryError::RateLimited { host, after };
        }
        let body = self.body(response, ERROR_BYTES_MAX).await;
        RegistryError::Status {
            host,
            status: status.as_u16(),
            message: body.ok().and_then(|bytes| error_message(&bytes)),
        }
    }

    /// What the network's complaint means.
    fn network(&self, host: &str, error: reqwest::Error) -> RegistryError {
        let host = host.to_owned();
        // The address may hold a query that nobody else should see.
        let source = error.without_url();
        if is_certificate(&source) {
            return RegistryError::Certificate { host, source };
        }
        if source.is_timeout() && !source.is_connect() {
            let limit = self.waits().read;
            return RegistryError::Stalled { host, limit };
        }
        RegistryError::Unreachable { host, source }
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Whether a certificate was the trouble.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut at = error.source();
    while let Some(cause) = at {
        if let Some(rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return true;
        }
        // What an I/O error wraps is not its source, but stands in its place.
        at = match cause.downcast_ref::<std::io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    false
}

/// The first message of a registry's error document, for people.
fn error_message(bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let first = document.get("errors")?.get(0)?;
    let text = first
        .get("message")
        .or_else(|| first.get("code"))?
        .as_str()?;
    let shown: String = text.chars().take(ERROR_SHOWN_CHARACTERS_MAX).collect();
    Some(shown.escape_debug().to_string()).filter(|text| !text.is_empty())
}
