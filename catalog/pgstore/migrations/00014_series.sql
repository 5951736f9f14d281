-- +goose Up

-- Several dates of one thing: each is an event with tickets, a room and an id of its
-- own, and all were made from one document.
create table series (
    id         uuid primary key,
    venue_id   uuid not null references venues,
    name       text not null check (name <> ''),
    created_at timestamptz not null default now()
);
alter table events add column series_id uuid references series;
create index events_by_series on events (series_id, starts_at, id) where series_id is not null;

-- When what is told of an event last changed, and how often it changed where or when
-- or whether it takes place (SEQUENCE of RFC 5545, section 3.8.7.4). Venues count
-- for themselves: a change of one would otherwise lock all its events.
alter table events add column sequence integer not null default 0;
alter table venues add column sequence integer not null default 0,
                   add column updated_at timestamptz not null default now();
update venues set updated_at = created_at;

-- +goose StatementBegin
create function note_event_change() returns trigger language plpgsql as $$
begin
    new.updated_at = greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    if (new.starts_at, new.doors_at, new.status, new.name, new.venue_id) is distinct from
       (old.starts_at, old.doors_at, old.status, old.name, old.venue_id) then
        new.sequence = old.sequence + 1;
    end if;
    return new;
end $$;
-- +goose StatementEnd
create trigger events_touched before update on events for each row
    when (old.* is distinct from new.*) execute function note_event_change();

-- +goose StatementBegin
create function note_venue_change() returns trigger language plpgsql as $$
begin
    new.updated_at = greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    new.sequence = old.sequence + 1;
    return new;
end $$;
-- +goose StatementEnd
create trigger venues_touched before update on venues for each row
    when ((old.name, old.address, old.city, old.country, old.timezone) is distinct from (new.name, new.address, new.city, new.country, new.timezone))
    execute function note_venue_change();

-- Who performs and what it costs stand in tables of their own. What comes with a new
-- event is no change of it.
-- +goose StatementBegin
create function note_part_change() returns trigger language plpgsql as $$
declare
    ids uuid[];
begin
    if tg_table_name = 'artists' then
        ids := array(select distinct ea.event_id from now_so n join so_far o using (id) join event_artists ea on ea.artist_id = n.id where n.name is distinct from o.name);
    elsif tg_op = 'INSERT' then
        ids := array(select distinct event_id from now_so);
    elsif tg_op = 'DELETE' then
        ids := array(select distinct event_id from so_far);
    else
        ids := array(select event_id from (select * from now_so except select * from so_far) changed);
    end if;
    if cardinality(ids) > 0 then
        update events set updated_at = clock_timestamp() where id = any(ids) and created_at < now();
    end if;
    return null;
end $$;
-- +goose StatementEnd
create trigger event_touched after insert on event_artists
    referencing new table as now_so for each statement execute function note_part_change();
create trigger event_touched_by_change after update on event_artists
    referencing old table as so_far new table as now_so for each statement execute function note_part_change();
create trigger event_touched_by_removal after delete on event_artists
    referencing old table as so_far for each statement execute function note_part_change();
create trigger event_touched_by_change after update on artists
    referencing old table as so_far new table as now_so for each statement execute function note_part_change();
create trigger event_touched_by_change after update on price_tiers
    referencing old table as so_far new table as now_so for each statement execute function note_part_change();

-- Lower case for letters of all alphabets, whatever the locale of the database: that of
-- C knows 26. Where the database's own does not do, another collation lends its case.
-- +goose StatementBegin
do $$
declare
    lender text := '';
begin
    if lower('ÄŁ') <> 'äł' then
        select format(' collate %I.%I', n.nspname, c.collname) into lender
          from pg_collation c join pg_namespace n on n.oid = c.collnamespace
         where c.collname in ('pg_c_utf8', 'und-x-icu', 'C.utf8', 'en_US.utf8') and c.collencoding in (-1, pg_char_to_encoding('UTF8'))
         order by array_position(array['pg_c_utf8', 'und-x-icu', 'C.utf8', 'en_US.utf8']::name[], c.collname) limit 1;
    end if;
    execute format('create function search_lower(t text) returns text language sql immutable strict parallel safe as %L',
                   'select lower(t' || coalesce(lender, '') || ')');
end $$;
-- +goose StatementEnd
create or replace function search_fold(t text) returns text
    language sql immutable strict parallel safe as $$
select case when octet_length(t) = length(t) then search_lower(t) else
           translate(replace(replace(replace(replace(
               search_lower(regexp_replace(normalize(t, nfkd), E'[\u0300-\u036f\u3099\u309a]+', '', 'g')),
               'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), 'øłđðħı', 'olddhi') end
$$;

-- +goose StatementBegin
create or replace function search_refresh(ids uuid[]) returns void
    language plpgsql as $$
begin
    -- Whoever changes one of them at the same time comes before or after: the
    -- statement below sees what they did, or they see this.
    perform from events where id = any(ids) order by id for no key update;

    with bills as (
        select ea.event_id, string_agg(a.name, E'\n' order by ea.position) as artists
          from event_artists ea join artists a on a.id = ea.artist_id where ea.event_id = any(ids) group by ea.event_id
    ), fresh as materialized (
        select e.id, e.starts_at, e.status = 'draft' as draft, e.type, e.name, e.description,
               v.city, v.name || ' ' || v.city as place, coalesce(b.artists, '') as artists
          from events e join venues v on v.id = e.venue_id left join bills b on b.event_id = e.id
         where e.id = any(ids)
    ), written as (
        insert into event_search as s (event_id, starts_at, draft, type, name, city, artists, name_key, doc)
        select id, starts_at, draft, type, search_lower(name), search_lower(city), search_lower(artists), left(search_fold(name), 200),
               setweight(search_words_of(name), 'A') || setweight(search_words_of(artists), 'B')
                   || setweight(search_words_of(place), 'C') || setweight(search_words_of(description), 'D')
          from fresh
        on conflict (event_id) do update
           set starts_at = excluded.starts_at, draft = excluded.draft, type = excluded.type, name = excluded.name, city = excluded.city,
               artists = excluded.artists, name_key = excluded.name_key, doc = excluded.doc
        returning s.draft, s.doc
    )
    insert into search_words (word)
    select word
      from (select distinct w.word collate "C" as word
              from written, unnest(tsvector_to_array(written.doc)) w (word)
             where not written.draft and length(w.word) between 3 and 40 and w.word !~ '[0-9]' offset 0) used
     where not exists (select from search_words known where known.word = used.word);
end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
do $$ begin
    if lower('ÄŁ') <> 'äł' then
        perform search_refresh(array(select id from events));
    end if;
end $$;
-- +goose StatementEnd

-- +goose Down
create or replace function search_fold(t text) returns text
    language sql immutable strict parallel safe as $$
select case when octet_length(t) = length(t) then lower(t) else
           translate(replace(replace(replace(replace(
               lower(regexp_replace(normalize(t, nfkd), E'[\u0300-\u036f\u3099\u309a]+', '', 'g')),
               'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), 'øłđðħı', 'olddhi') end
$$;

-- +goose StatementBegin
create or replace function search_refresh(ids uuid[]) returns void
    language plpgsql as $$
begin
    -- Whoever changes one of them at the same time comes before or after: the
    -- statement below sees what they did, or they see this.
    perform from events where id = any(ids) order by id for no key update;

    with bills as (
        select ea.event_id, string_agg(a.name, E'\n' order by ea.position) as artists
          from event_artists ea join artists a on a.id = ea.artist_id where ea.event_id = any(ids) group by ea.event_id
    ), fresh as materialized (
        select e.id, e.starts_at, e.status = 'draft' as draft, e.type, e.name, e.description,
               v.city, v.name || ' ' || v.city as place, coalesce(b.artists, '') as artists
          from events e join venues v on v.id = e.venue_id left join bills b on b.event_id = e.id
         where e.id = any(ids)
    ), written as (
        insert into event_search as s (event_id, starts_at, draft, type, name, city, artists, name_key, doc)
        select id, starts_at, draft, type, lower(name), lower(city), lower(artists), left(search_fold(name), 200),
               setweight(search_words_of(name), 'A') || setweight(search_words_of(artists), 'B')
                   || setweight(search_words_of(place), 'C') || setweight(search_words_of(description), 'D')
          from fresh
        on conflict (event_id) do update
           set starts_at = excluded.starts_at, draft = excluded.draft, type = excluded.type, name = excluded.name, city = excluded.city,
               artists = excluded.artists, name_key = excluded.name_key, doc = excluded.doc
        returning s.draft, s.doc
    )
    insert into search_words (word)
    select word
      from (select distinct w.word collate "C" as word
              from written, unnest(tsvector_to_array(written.doc)) w (word)
             where not written.draft and length(w.word) between 3 and 40 and w.word !~ '[0-9]' offset 0) used
     where not exists (select from search_words known where known.word = used.word);
end
$$;
-- +goose StatementEnd

drop function search_lower(text);
drop trigger event_touched_by_change on price_tiers;
drop trigger event_touched_by_change on artists;
drop trigger event_touched_by_removal on event_artists;
drop trigger event_touched_by_change on event_artists;
drop trigger event_touched on event_artists;
drop function note_part_change();
drop trigger venues_touched on venues;
drop function note_venue_change();
drop trigger events_touched on events;
drop function note_event_change();
alter table venues drop column updated_at, drop column sequence;
drop index events_by_series;
alter table events drop column sequence, drop column series_id;
drop table series;
