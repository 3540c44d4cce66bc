CREATE TABLE campaigns (
  name TEXT PRIMARY KEY,
  begins TEXT NOT NULL,
  ends TEXT NOT NULL
);
