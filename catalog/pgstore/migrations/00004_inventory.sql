-- +goose Up

-- What is done about seats that would be left with no free neighbour.
alter table events add column single_seats text not null default 'avoid'
    check (single_seats in ('allow', 'avoid', 'refuse'));

-- A channel is some tickets that are not for everybody: a fan club's, a sponsor's,
-- or those of the house, which nobody is invited to.
create table channels (
    id         uuid primary key,
    event_id   uuid not null references events on delete cascade,
    number     smallint not null check (number between 1 and 60), -- how Redis knows it
    name       text not null check (name <> ''),
    created_at timestamptz not null default now(),
    unique (event_id, number),
    unique (event_id, name)
);

-- What lets somebody buy from a channel. The code itself is not stored.
create table channel_invites (
    id         uuid primary key,
    channel_id uuid not null references channels on delete cascade,
    digest     bytea not null unique, -- SHA-256 of the code
    note       text not null default '',
    uses       integer not null check (uses > 0),
    used       integer not null default 0 check (used between 0 and uses),
    expires_at timestamptz,
    created_at timestamptz not null default now()
);
create index channel_invites_by_channel on channel_invites (channel_id);

create table channel_members (
    channel_id uuid not null references channels on delete cascade,
    visitor    text not null,
    invite_id  uuid not null references channel_invites on delete cascade,
    joined_at  timestamptz not null default now(),
    primary key (channel_id, visitor)
);

alter table tickets
    add column channel_id uuid references channels, -- whose it is to buy; null: everybody's
    add column fence bigint not null default 0;     -- of the latest hold that claimed it
create index tickets_by_channel on tickets (channel_id) where channel_id is not null;

-- +goose Down
drop index tickets_by_channel;
alter table tickets drop column channel_id, drop column fence;
drop table channel_members, channel_invites, channels;
alter table events drop column single_seats;
