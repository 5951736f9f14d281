-- +goose Up

-- Accounts, which nobody needs: what somebody has bought as a guest on several
-- devices, in one place.
create table accounts (
    id            uuid primary key,
    email         text unique check (email = lower(email) and email <> ''), -- proven; null: the issuer says none, or it was erased
    name          text not null default '',
    session_epoch bigint not null default 1 check (session_epoch > 0), -- sessions of another one are over
    created_at    timestamptz not null default now(),
    last_seen_at  timestamptz not null default now(), -- the latest sign-in
    erased_at     timestamptz,
    constraint accounts_erased check (erased_at is null or (email is null and name = ''))
);

-- Whom an external issuer (OpenID Connect) knows them as.
create table account_identities (
    issuer     text not null check (issuer <> ''),
    subject    text not null check (subject <> ''),
    account_id uuid not null references accounts,
    created_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index account_identities_by_account on account_identities (account_id);

-- The devices of an account. One is no other account's until its own is erased.
alter table users add column account_id uuid references accounts;
create index users_by_account on users (account_id) where account_id is not null;

-- Codes that sign in. A code itself is kept nowhere: it follows from the id by a
-- key that the database does not have.
create table sign_in_codes (
    id         uuid primary key,
    email      text not null check (email = lower(email)),
    network    text not null, -- pseudonym of the network address that asked
    tries      integer not null default 0 check (tries >= 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at    timestamptz
);
create index sign_in_codes_by_email on sign_in_codes (email, created_at);
create index sign_in_codes_by_network on sign_in_codes (network, created_at);
create index sign_in_codes_by_age on sign_in_codes (created_at);

-- What there is about a person, by their address.
create index users_by_address on users (lower(email)) where email <> '';
create index orders_by_address on orders (lower(buyer_email));
create index admissions_by_holder on admissions (lower(holder_email));
create index emails_by_recipient on emails (lower(recipient));

-- +goose Down
drop index emails_by_recipient, admissions_by_holder, orders_by_address, users_by_address;
drop table sign_in_codes;
drop index users_by_account;
alter table users drop column account_id;
drop table account_identities, accounts;
