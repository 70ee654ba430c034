//! A call to somebody else's service, which may be slow or gone: it is waited for as long as the
//! policy says, tried again where that is safe, left alone when it fails, and never takes the shop
//! with it. Money that was put aside there is paid or released, also when whoever pays leaves in between.

use std::error::Error;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use steadfast::decide::breaker::{BreakerState, BreakerStatus, Override};
use steadfast::tower::breaker::Breakers;
use steadfast::tower::guard::GuardError;
use steadfast::tower::{CallError, Guard, Rejection};
use steadfast::{ScopeError, rng, scope};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::books::Books;
use crate::database;

/// Money that is put aside until it is paid or released.
pub struct Hold(u64);

impl Hold {
    /// Gives one that is not put aside yet.
    pub(crate) fn new() -> Self {
        // Of 63 random bits: no other process of the shop gives the same, also after a restart.
        Self(rng::bits() >> 1)
    }

    /// Gives the number by which the gateway knows it.
    pub fn number(&self) -> u64 {
        self.0
    }

    /// Gives the hold with a number, which somebody wrote down.
    pub fn of(number: u64) -> Self {
        Self(number)
    }
}

/// Why there is no payment.
#[derive(Debug, Clone)]
pub enum PaymentError {
    /// The guard did not wait any longer, or did not even ask.
    Rejected(Rejection),
    /// The gateway has answered, with this.
    Failed(StatusCode),
    /// The gateway has not answered.
    Unreachable,
}

/// The way to the gateway. Clones are one way: they share what is known about it.
#[derive(Clone)]
pub struct Payments {
    gateway: String,
    client: Client,
    /// Absent where nothing stands around the client.
    breakers: Option<Breakers>,
}

type Client = BoxCloneSyncService<Request<Body>, Response<Body>, CallError<legacy::Error>>;

/// `POST /payments`: puts money aside and pays it, for customers who pay later.
pub async fn pay(
    State(payments): State<Payments>,
    State(books): State<Books>,
) -> axum::response::Response {
    let ended = scope("pay")
        .error::<PaymentError>()
        .on_report(|report| tracing::info!(target: "shop", "{report}"))
        .run(async |s| {
            // Who the customer is.
            database::ask(Duration::from_millis(4)).await;
            let known = books.clone();
            // A client may leave while the gateway is asked, so the hold is owned before. It is left to a job: the
            // gateway may be why nothing was paid.
            let hold = s.own("release the hold", Hold::new(), async move |hold| {
                known.release(&hold).await
            });
            if let Err(error) = payments.put_aside(&hold).await {
                if error.is_unsent() {
                    hold.disarm();
                }
                return Err(error);
            }
            payments.confirm(&hold).await?;
            hold.disarm();
            Ok(())
        })
        .await;
    match ended {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(ScopeError::Failed(error)) => error.into_response(),
        // The edge answers for everything that is nobody's fault in particular.
        Err(ScopeError::Panicked(panic)) => panic.resume(),
        Err(ScopeError::Cancelled(_)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

impl Payments {
    /// Makes the way to the gateway at `address`, as the guard is told.
    ///
    /// # Errors
    /// When the policy does not know what is called.
    pub fn new(guard: &Guard, address: impl std::fmt::Display) -> Result<Self, GuardError> {
        Ok(Self {
            gateway: format!("http://{address}"),
            client: client(guard)?,
            breakers: Some(guard.breakers("payments")?),
        })
    }

    /// Makes the way to the gateway with nothing around it.
    #[cfg(feature = "drill")]
    pub(crate) fn unprotected(address: impl std::fmt::Display) -> Self {
        let client = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(Body::new))
            .map_err(CallError::Inner)
            .service(legacy::Client::builder(TokioExecutor::new()).build_http());
        Self {
            gateway: format!("http://{address}"),
            client: BoxCloneSyncService::new(client),
            breakers: None,
        }
    }

    /// Puts money aside.
    pub async fn put_aside(&self, hold: &Hold) -> Result<(), PaymentError> {
        self.call(Method::PUT, hold).await
    }

    /// Pays what was put aside.
    pub async fn confirm(&self, hold: &Hold) -> Result<(), PaymentError> {
        self.call(Method::POST, hold).await
    }

    /// Gives back what was put aside. What is paid by then stays paid.
    pub async fn release(&self, hold: &Hold) -> Result<(), PaymentError> {
        match self.call(Method::DELETE, hold).await {
            Err(PaymentError::Failed(StatusCode::CONFLICT)) => Ok(()),
            released => released,
        }
    }

    /// Tells whether the gateway is left alone for now, since it has failed too often: jobs that need it wait then, and
    /// spend no attempt on finding out.
    pub fn are_left_alone(&self) -> bool {
        let endpoints: Vec<_> = self.breakers.iter().flat_map(Breakers::endpoints).collect();
        let is_open = |breaker: BreakerStatus| match breaker.forced {
            Some((by_an_operator, _)) => by_an_operator == Override::Open,
            // When its time is over, the next calls find out.
            None => matches!(breaker.state, BreakerState::Open { left } if !left.is_zero()),
        };
        !endpoints.is_empty() && endpoints.iter().all(|of| is_open(of.breaker))
    }

    async fn call(&self, method: Method, Hold(number): &Hold) -> Result<(), PaymentError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/holds/{number}", self.gateway))
            // The gateway does once what it is told twice under one key.
            .header("idempotency-key", format!("hold-{number}"))
            .body(Body::empty())
            .map_err(|_| PaymentError::Unreachable)?;
        let response = self.client.clone().oneshot(request).await;
        match response?.status() {
            status if status.is_success() => Ok(()),
            status => Err(PaymentError::Failed(status)),
        }
    }
}

/// Puts the client together: what stands around it is said by `dependencies.payments` of the policy.
fn client(guard: &Guard) -> Result<Client, GuardError> {
    let client = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(guard.client("payments")?)
        .service(legacy::Client::builder(TokioExecutor::new()).build_http());
    Ok(BoxCloneSyncService::new(client))
}

impl From<CallError<legacy::Error>> for PaymentError {
    fn from(error: CallError<legacy::Error>) -> Self {
        match error {
            CallError::Rejected(rejection) => Self::Rejected(rejection),
            CallError::Inner(_) => Self::Unreachable,
        }
    }
}

impl PaymentError {
    /// Tells whether the gateway was not even asked, so that nothing is put aside there.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Rejected(rejection) if rejection.reason().is_unsent())
    }
}

impl std::fmt::Display for PaymentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(rejection) => write!(f, "{rejection}"),
            Self::Failed(status) => write!(f, "the gateway has answered {status}"),
            Self::Unreachable => f.write_str("the gateway cannot be reached"),
        }
    }
}

impl Error for PaymentError {}

impl IntoResponse for PaymentError {
    fn into_response(self) -> axum::response::Response {
        let status = match &self {
            Self::Rejected(rejection) => rejection.reason().status(),
            Self::Failed(_) | Self::Unreachable => StatusCode::BAD_GATEWAY,
        };
        let title = "nothing was paid; please try again later";
        let problem = json!({
            "title": title, "status": status.as_u16(), "because": self.to_string(),
        });
        (status, Json(problem)).into_response()
    }
}
