package pgstore

import "context"

// MigrateTo brings an empty database to an earlier version of the schema.
func MigrateTo(ctx context.Context, databaseURL string, version int64) error {
	db, err := openForMigration(databaseURL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	steps, err := provider(db)
	if err != nil {
		return err
	}
	_, err = steps.UpTo(ctx, version)
	return err
}

// Look finds out at once whether the replica keeps up.
func (r *Replica) Look(ctx context.Context) bool {
	r.looking.Lock()
	defer r.looking.Unlock()
	return r.look(ctx)
}
