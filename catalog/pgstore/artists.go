package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"onsale/catalog"
	"onsale/internal/fault"
)

const selectArtists = `
select a.id, a.name, a.url, (select count(*) from event_artists ea where ea.artist_id = a.id)
  from artists a`

func scanArtist(row pgx.CollectableRow) (a catalog.ArtistRecord, err error) {
	return a, row.Scan(&a.ID, &a.Name, &a.URL, &a.Events)
}

// Artists lists artists by name. next is "" on the last page.
func (s *Store) Artists(ctx context.Context, q catalog.ListQuery) (list []catalog.ArtistRecord, next string, err error) {
	return listOf(ctx, s, q, selectArtists+`
 where (@text = '' or search_lower(a.name) like search_lower(@like))
   and (@id::uuid is null or (a.name collate "C", a.id) > (@name::text, @id::uuid))
 order by a.name collate "C", a.id limit @limit`, scanArtist, func(a *catalog.ArtistRecord) (string, string) { return a.Name, a.ID })
}

// Artist finds one; any other id is fault.NotFound.
func (s *Store) Artist(ctx context.Context, id string) (catalog.ArtistRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return one(ctx, s.primary, "artist", id, selectArtists+` where a.id = @id::uuid`, scanArtist)
}

// ArtistFree refuses, as fault.Conflict, the name of another artist than that with the
// id; "" is of one that is to be created.
func (s *Store) ArtistFree(ctx context.Context, id string, p catalog.ArtistPatch) error {
	return s.free(ctx, id, "there is an artist of this name already", `
select exists (select from artists where id is distinct from nullif(@id, '')::uuid and name = @name)`, pgx.NamedArgs{"id": id, "name": p.Name})
}

// CreateArtist adds an artist. One of this name is fault.Conflict.
func (s *Store) CreateArtist(ctx context.Context, p catalog.ArtistPatch) (a catalog.ArtistRecord, err error) {
	if err := p.Check(); err != nil {
		return a, err
	}
	if p.Name == nil {
		return a, fault.New(fault.Invalid, "name is missing")
	}
	id, err := newID()
	if err != nil {
		return a, err
	}
	return s.writeArtist(ctx, id, p, `insert into artists (id, name, url) values (@id::uuid, @name, coalesce(@url, ''))`)
}

// UpdateArtist changes what is given. Unknown is fault.NotFound, a name that is taken
// fault.Conflict.
func (s *Store) UpdateArtist(ctx context.Context, id string, p catalog.ArtistPatch) (a catalog.ArtistRecord, err error) {
	if err := p.Check(); err != nil {
		return a, err
	}
	if !catalog.IsID(id) {
		return a, none("artist", id)
	}
	return s.writeArtist(ctx, id, p, `update artists set name = coalesce(@name, name), url = coalesce(@url, url) where id = @id::uuid`)
}

func (s *Store) writeArtist(ctx context.Context, id string, p catalog.ArtistPatch, sql string) (a catalog.ArtistRecord, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	err = s.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql, pgx.NamedArgs{"id": id, "name": p.Name, "url": p.URL}); err != nil {
			return err
		}
		a, err = one(ctx, tx, "artist", id, selectArtists+` where a.id = @id::uuid`, scanArtist)
		return err
	})
	return a, duplicate(ctx, err, "there is an artist of this name already")
}

// DeleteArtist removes an artist. One that events have is fault.Conflict.
func (s *Store) DeleteArtist(ctx context.Context, id string) error {
	return s.remove(ctx, "artist", id, "artists", `select count(*) from event_artists where artist_id = @id::uuid`)
}
