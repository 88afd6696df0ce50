//! Paths inside containers, keys of Secrets and HTTP paths.

/// Directory where the ConfigMap with [`CONFIG_FILE`] is mounted.
pub const CONFIG_DIRECTORY: &str = "/etc/payment/config";
/// The runtime's (and the simulator's) configuration file inside [`CONFIG_DIRECTORY`].
pub const CONFIG_FILE: &str = "config.yaml";
/// Directory where the channel Secret is mounted, one file per key of [`channel_key`].
pub const CHANNEL_CREDENTIALS_DIRECTORY: &str = "/etc/payment/channels";
/// Directory where the database password is mounted as [`PASSWORD_FILE`].
pub const MYSQL_CREDENTIALS_DIRECTORY: &str = "/etc/payment/mysql";
/// Directory where the cache password is mounted as [`PASSWORD_FILE`].
pub const REDIS_CREDENTIALS_DIRECTORY: &str = "/etc/payment/redis";
/// Directory where the order database's password is mounted as [`PASSWORD_FILE`].
pub const ORDERS_CREDENTIALS_DIRECTORY: &str = "/etc/payment/orders";
pub const PASSWORD_FILE: &str = "password";
/// Directory where the webhook's signing secret is mounted as [`NOTIFY_SECRET_FILE`].
pub const NOTIFY_CREDENTIALS_DIRECTORY: &str = "/etc/payment/notify";
pub const NOTIFY_SECRET_FILE: &str = "secret";
/// Directory where the list of those who may act is mounted as [`PEOPLE_FILE`].
pub const PEOPLE_DIRECTORY: &str = "/etc/payment/people";
pub const PEOPLE_FILE: &str = "people";
/// Directory where the certificate that a role shows is mounted as [`CERTIFICATE_FILE`] and
/// [`PRIVATE_KEY_FILE`].
pub const CERTIFICATE_DIRECTORY: &str = "/etc/payment/certificate";
/// Keys of a Secret of type `kubernetes.io/tls`, and files of the same names.
pub const CERTIFICATE_FILE: &str = "tls.crt";
pub const PRIVATE_KEY_FILE: &str = "tls.key";
/// Directories where the authorities of the database, the cache and the transaction coordinator are
/// mounted as [`AUTHORITY_FILE`].
pub const MYSQL_AUTHORITY_DIRECTORY: &str = "/etc/payment/mysql-ca";
pub const REDIS_AUTHORITY_DIRECTORY: &str = "/etc/payment/redis-ca";
pub const COORDINATOR_AUTHORITY_DIRECTORY: &str = "/etc/payment/coordinator-ca";
/// Key of a Secret, and file of the same name.
pub const AUTHORITY_FILE: &str = "ca.crt";
/// Where a reconciliation run leaves its [`crate::RunSummary`] for the operator to read.
pub const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";
/// The databases of payments, of the transaction coordinator, and of orders and stock. Each has a
/// user of its own name.
pub const PAYMENT_DATABASE: &str = "payment";
pub const COORDINATOR_DATABASE: &str = "seata";
pub const ORDERS_DATABASE: &str = "orders";
/// The transaction group that services and TC share.
pub const TRANSACTION_GROUP: &str = "payment-tx-group";

pub const WECHAT_CALLBACK_PATH: &str = "/callbacks/wechat";
pub const ALIPAY_CALLBACK_PATH: &str = "/callbacks/alipay";

/// What a rotation of passwords is told by: keys of Secrets, and files of the same names.
pub mod rotation {
    /// Directory where the Secrets under rotation are mounted, each as a directory of its own.
    pub const DIRECTORY: &str = "/etc/payment/rotation";
    /// Directories below [`DIRECTORY`].
    pub const MYSQL: &str = "mysql";
    pub const ORDERS: &str = "orders";
    pub const REDIS: &str = "redis";
    /// The password of the database's, the order database's or the cache's user.
    pub const PASSWORD: &str = "password";
    /// The password of the transaction coordinator's user of the database.
    pub const COORDINATOR_PASSWORD: &str = "coordinator-password";
    /// Before a key: the password that will take its place.
    pub const NEXT: &str = "next-";
    /// Before a key: the password that had its place and is still let in.
    pub const PREVIOUS: &str = "previous-";
    /// Before a key: a former password that nobody uses any more, to be refused from now on.
    pub const RETIRED: &str = "retired-";
    /// Arguments of the role: make the stores accept what is next; make them refuse what is former.
    pub const ACCEPT: &str = "accept";
    pub const DISCARD: &str = "discard";
}

/// Keys of the channel Secret. The first seven keep the names of the system this one replaces.
pub mod channel_key {
    /// The app (or mini program) id bound to the merchant.
    pub const WECHAT_APP_ID: &str = "wechat-app-id";
    /// The merchant number (mchid).
    pub const WECHAT_MCH_ID: &str = "wechat-mch-id";
    /// The APIv3 key: 32 ASCII bytes that decrypt callbacks.
    pub const WECHAT_API_KEY: &str = "wechat-api-key";
    pub const ALIPAY_APP_ID: &str = "alipay-app-id";
    /// The application's private key, PEM (PKCS#8 or PKCS#1).
    pub const ALIPAY_PRIVATE_KEY: &str = "alipay-private-key";
    /// Alipay's public key (not the application's own), PEM (SPKI).
    pub const ALIPAY_PUBLIC_KEY: &str = "alipay-public-key";
    /// The merchant's private API key, PEM (PKCS#8 or PKCS#1).
    pub const WECHAT_PRIVATE_KEY: &str = "wechat-private-key";
    /// Serial number of the merchant's API certificate, upper-case hex.
    pub const WECHAT_MERCHANT_SERIAL: &str = "wechat-merchant-serial";
    /// Id of the WeChat Pay public key, `PUB_KEY_ID_…`.
    pub const WECHAT_PUBLIC_KEY_ID: &str = "wechat-public-key-id";
    /// The WeChat Pay public key, PEM (SPKI).
    pub const WECHAT_PUBLIC_KEY: &str = "wechat-public-key";

    /// Optional: the seller (`2088…`) that callbacks must name.
    pub const ALIPAY_SELLER_ID: &str = "alipay-seller-id";
    /// Optional, with the two below: certificate mode. The application's certificate, PEM.
    pub const ALIPAY_APP_CERTIFICATE: &str = "alipay-app-certificate";
    /// Alipay's certificate (alipayCertPublicKey_RSA2), PEM; takes the place of
    /// [`ALIPAY_PUBLIC_KEY`].
    pub const ALIPAY_CERTIFICATE: &str = "alipay-certificate";
    /// Alipay's root certificates, a PEM bundle.
    pub const ALIPAY_ROOT_CERTIFICATES: &str = "alipay-root-certificates";
    /// What certificate mode adds; all three or none.
    pub const ALIPAY_CERTIFICATE_MODE: [&str; 3] = [
        ALIPAY_APP_CERTIFICATE,
        ALIPAY_CERTIFICATE,
        ALIPAY_ROOT_CERTIFICATES,
    ];

    /// What a client of WeChat Pay needs.
    pub const WECHAT: [&str; 7] = [
        WECHAT_APP_ID,
        WECHAT_MCH_ID,
        WECHAT_API_KEY,
        WECHAT_PRIVATE_KEY,
        WECHAT_MERCHANT_SERIAL,
        WECHAT_PUBLIC_KEY_ID,
        WECHAT_PUBLIC_KEY,
    ];
    /// What a client of Alipay needs.
    pub const ALIPAY: [&str; 3] = [ALIPAY_APP_ID, ALIPAY_PRIVATE_KEY, ALIPAY_PUBLIC_KEY];

    /// The channel's own half, which only the simulator holds.
    pub const SIMULATOR_WECHAT_PRIVATE_KEY: &str = "simulator-wechat-private-key";
    pub const SIMULATOR_ALIPAY_PRIVATE_KEY: &str = "simulator-alipay-private-key";
    /// The merchant's public halves, which a channel learns when the merchant signs up.
    pub const SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY: &str = "simulator-wechat-merchant-public-key";
    pub const SIMULATOR_ALIPAY_APP_PUBLIC_KEY: &str = "simulator-alipay-app-public-key";
    pub const SIMULATOR: [&str; 4] = [
        SIMULATOR_WECHAT_PRIVATE_KEY,
        SIMULATOR_ALIPAY_PRIVATE_KEY,
        SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY,
        SIMULATOR_ALIPAY_APP_PUBLIC_KEY,
    ];
}
