-- +goose Up

-- The search of the catalog (docs/catalog.md). A trusted extension: who owns the
-- database may create it.
create extension if not exists pg_trgm;

-- Text as it is compared: no case, no accents, no ligatures. As far as letters
-- beyond ASCII have cases, lower() knows them from the database's locale.
create function search_fold(t text) returns text
    language sql immutable strict parallel safe as $$
select case when octet_length(t) = length(t) then lower(t) else
           translate(replace(replace(replace(replace(
               lower(regexp_replace(normalize(t, nfkd), E'[\u0300-\u036f\u3099\u309a]+', '', 'g')),
               'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th'), 'øłđðħı', 'olddhi') end
$$;

-- The words of a text. Apostrophes vanish (O'Hara is ohara), all other
-- punctuation parts words, so that the parser sees no files, hosts or numbers with
-- signs in names such as AC/DC. Whoever has no umlaut on the keyboard writes
-- ue for ü: both are words of the text.
create function search_words_of(t text) returns tsvector
    language sql immutable strict parallel safe as $$
select to_tsvector('simple', regexp_replace(translate(
           search_fold(case when octet_length(t) > length(t) and t ~ '[äöüÄÖÜ]' then concat(t, ' ',
               replace(replace(replace(replace(replace(replace(t, 'ä', 'ae'), 'ö', 'oe'), 'ü', 'ue'), 'Ä', 'Ae'), 'Ö', 'Oe'), 'Ü', 'Ue'))
               else t end),
           E'\'\u2018\u2019\u02bc`\u00b4', ''),
           E'[\\x01-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7f\u00a1-\u00bf\u00d7\u00f7\u2000-\u206f\u3000-\u303f]+', ' ', 'g'))
$$;

-- What is searched and sorted by, one row for each event: a query is answered
-- from one table, whose indexes can be combined. Triggers keep it.
create table event_search (
    event_id  uuid primary key references events on delete cascade,
    starts_at timestamptz not null,
    draft     boolean not null,
    type      text not null,
    name      text not null, -- in lower case, as city and artists
    city      text not null,
    artists   text not null, -- one per line
    name_key  text collate "C" not null, -- folded, for the order by name
    doc       tsvector not null -- weights: A name, B artists, C venue and city, D description
);

-- The words of public events, for who mistypes one. Nothing removes a word: one
-- that no event has any more finds nothing, as it would without. It has no unique
-- index, since events that are created at once would wait for each other's words
-- in a circle; a word that stands here twice is looked up twice.
create table search_words (word text collate "C" not null);

-- +goose StatementBegin
create function search_refresh(ids uuid[]) returns void
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

-- +goose StatementBegin
create function search_changed() returns trigger
    language plpgsql as $$
declare
    ids uuid[];
begin
    case tg_table_name
    when 'events' then
        if tg_op = 'INSERT' then
            ids := array(select id from now_so);
        else
            ids := array(select n.id from now_so n left join so_far o using (id)
                          where (n.name, n.type, n.description, n.starts_at, n.status, n.venue_id)
                                is distinct from (o.name, o.type, o.description, o.starts_at, o.status, o.venue_id));
        end if;
    when 'event_artists' then
        if tg_op = 'DELETE' then
            ids := array(select distinct event_id from so_far);
        elsif tg_op = 'INSERT' then
            ids := array(select distinct event_id from now_so);
        else
            ids := array(select event_id from so_far union select event_id from now_so);
        end if;
    when 'artists' then
        ids := array(select distinct ea.event_id from now_so n left join so_far o using (id)
                       join event_artists ea on ea.artist_id = n.id where n.name is distinct from o.name);
    when 'venues' then
        ids := array(select e.id from now_so n left join so_far o using (id)
                       join events e on e.venue_id = n.id where (n.name, n.city) is distinct from (o.name, o.city));
    end case;
    if cardinality(ids) > 0 then
        perform search_refresh(ids);
    end if;
    return null;
end
$$;
-- +goose StatementEnd

create trigger search_new after insert on events
    referencing new table as now_so for each statement execute function search_changed();
create trigger search_changed after update on events
    referencing old table as so_far new table as now_so for each statement execute function search_changed();
create trigger search_new after insert on event_artists
    referencing new table as now_so for each statement execute function search_changed();
create trigger search_changed after update on event_artists
    referencing old table as so_far new table as now_so for each statement execute function search_changed();
create trigger search_gone after delete on event_artists
    referencing old table as so_far for each statement execute function search_changed();
create trigger search_changed after update on artists
    referencing old table as so_far new table as now_so for each statement execute function search_changed();
create trigger search_changed after update on venues
    referencing old table as so_far new table as now_so for each statement execute function search_changed();

drop index events_by_name; -- nothing asked for whole names

select search_refresh(array(select id from events));

create index event_search_by_start on event_search (starts_at, event_id);
create index event_search_by_type on event_search (type, starts_at, event_id);
create index event_search_by_name on event_search (name_key, starts_at, event_id);
-- One index for all texts. New rows are sorted in at once: a list of those that
-- wait would be read by every search.
create index event_search_texts on event_search
    using gin (name gin_trgm_ops, city gin_trgm_ops, artists gin_trgm_ops, doc) with (fastupdate = off);
create index search_words_exact on search_words (word);
create index search_words_alike on search_words using gin (word gin_trgm_ops) with (fastupdate = off);

-- +goose Down
create index events_by_name on events (lower(name) text_pattern_ops);
drop trigger search_changed on venues;
drop trigger search_changed on artists;
drop trigger search_gone on event_artists;
drop trigger search_changed on event_artists;
drop trigger search_new on event_artists;
drop trigger search_changed on events;
drop trigger search_new on events;
drop function search_changed();
drop function search_refresh(uuid[]);
drop table search_words, event_search;
drop function search_words_of(text);
drop function search_fold(text);
-- The extension stays: others may use it.
