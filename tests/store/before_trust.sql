BEGIN TRANSACTION;
CREATE TABLE alias_moves (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	name VARCHAR(63) NOT NULL, 
	alias VARCHAR(63) NOT NULL, 
	number INTEGER, 
	moved VARCHAR(32) NOT NULL
);
CREATE TABLE aliases (
	name VARCHAR(63) NOT NULL, 
	alias VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (name, alias), 
	FOREIGN KEY(name, number) REFERENCES versions (name, number)
);
CREATE TABLE keys (
	id VARCHAR(12) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	scopes TEXT NOT NULL, 
	rate DOUBLE, 
	burst INTEGER, 
	created VARCHAR(32) NOT NULL, 
	revoked VARCHAR(32), 
	PRIMARY KEY (id), 
	UNIQUE (hash)
);
CREATE TABLE ledger (
	seq INTEGER NOT NULL, 
	time VARCHAR(32) NOT NULL, 
	subject VARCHAR(127) NOT NULL, 
	event VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	body TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE TABLE models (
	name VARCHAR(63) NOT NULL, 
	last_number INTEGER NOT NULL, 
	created VARCHAR(32) NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "models" VALUES('clean',1,'2026-11-26T09:46:46.366467Z');
INSERT INTO "models" VALUES('objected',1,'2026-11-26T09:46:59.309703Z');
INSERT INTO "models" VALUES('scale',1,'2026-11-26T09:47:03.613772Z');
INSERT INTO "models" VALUES('data',1,'2026-11-26T09:47:11.914134Z');
CREATE TABLE schema_version (
	id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "schema_version" VALUES(1,1);
CREATE TABLE versions (
	name VARCHAR(63) NOT NULL, 
	number INTEGER NOT NULL, 
	digest VARCHAR(71) NOT NULL, 
	size BIGINT NOT NULL, 
	manifest TEXT NOT NULL, 
	lineage TEXT NOT NULL, 
	created VARCHAR(32) NOT NULL, 
	PRIMARY KEY (name, number), 
	UNIQUE (name, digest), 
	FOREIGN KEY(name) REFERENCES models (name)
);
INSERT INTO "versions" VALUES('clean',1,'sha256:d0ef823c8162a0612dbc548aa59b36ba17ef0907e8caafcf6eb6753df17473b5',7446,'{"conversion":{"converted":false,"max_abs_diff":null,"reason":"conversion was switched off","source":"sklearn"},"engine":"sklearn","golden_rows":16,"name":"clean","requirements":["scikit-learn==1.9.1"],"scan":{"objections":[],"trusted":false,"verdict":"clean"},"settings":{"trusted_pickle":true},"signature":{"batched":true,"inputs":[{"datatype":"FP64","name":"x","shape":[-1,3]}],"outputs":[{"datatype":"INT64","name":"label","shape":[-1]},{"datatype":"FP64","name":"probabilities","shape":[-1,2]}]},"source":{"digest":"sha256:401e74bd226cbf4ee5f6bc303b6918b5ffeb852a20c07283a84c165dc75e44ea","format":"joblib","name":"clean.joblib"},"tolerance":{"atol":0.00001,"rtol":0.0001},"weights":"weights/model.joblib"}','{"argosy":"0.1.0","git_commit":"","git_dirty":false,"git_remote":"","host":"vm","pushed_at":"2026-11-26T09:46:46Z","pushed_by":"root","python":"3.11.7","source_path":"/tmp/oldhome/src/clean.joblib"}','2026-11-26T09:46:46.366467Z');
INSERT INTO "versions" VALUES('objected',1,'sha256:8dea7632cf21baff006e22adb506b9d3c2264cca91e4a8afa49614151162c678',7839,'{"conversion":{"converted":false,"max_abs_diff":null,"reason":"conversion was switched off","source":"sklearn"},"engine":"sklearn","golden_rows":16,"name":"objected","requirements":["scikit-learn==1.9.1"],"scan":{"objections":["_operator.neg"],"trusted":true,"verdict":"objected"},"settings":{"trusted_pickle":true},"signature":{"batched":true,"inputs":[{"datatype":"FP64","name":"x","shape":[-1,3]}],"outputs":[{"datatype":"INT64","name":"label","shape":[-1]},{"datatype":"FP64","name":"probabilities","shape":[-1,2]}]},"source":{"digest":"sha256:0b7556beb80673d466bb00bee1d1ad5cb0b4b820e58cb7351b649a81678a881e","format":"joblib","name":"objected.joblib"},"tolerance":{"atol":0.00001,"rtol":0.0001},"weights":"weights/model.joblib"}','{"argosy":"0.1.0","git_commit":"","git_dirty":false,"git_remote":"","host":"vm","pushed_at":"2026-11-26T09:46:59Z","pushed_by":"root","python":"3.11.7","source_path":"/tmp/oldhome/src/objected.joblib"}','2026-11-26T09:46:59.309703Z');
INSERT INTO "versions" VALUES('scale',1,'sha256:62ff375a83621da1a768df7a303fd19737477e60f593297005f1c6cdcf571d74',7025,'{"conversion":{"converted":false,"max_abs_diff":null,"reason":"python runs as it is","source":"python"},"engine":"python","golden_rows":16,"name":"scale","scan":{"objections":[],"trusted":false,"verdict":"code"},"settings":{"class":"model:Scale"},"signature":{"batched":true,"inputs":[{"datatype":"FP64","name":"x","shape":[-1,3]}],"outputs":[{"datatype":"FP64","name":"scaled","shape":[-1,3]}]},"source":{"digest":"sha256:d367231acd8e80f5f338287fc5e6e6631f1b3c1b6f6f90f1e2e5bffc74720913","format":"python","name":"scale.py"},"tolerance":{"atol":0.00001,"rtol":0.0001},"weights":"weights/model"}','{"argosy":"0.1.0","git_commit":"","git_dirty":false,"git_remote":"","host":"vm","pushed_at":"2026-11-26T09:47:03Z","pushed_by":"root","python":"3.11.7","source_path":"/tmp/oldhome/src/scale.py"}','2026-11-26T09:47:03.613772Z');
INSERT INTO "versions" VALUES('data',1,'sha256:6a9fe703df66a1dd83ecf72ed3d522cc5b411af73d9821d63e0fe214a9723a43',6752,'{"conversion":{"converted":true,"max_abs_diff":1.1920928955078125e-7,"reason":"the ONNX model agrees with the original on 56 rows (largest difference 1.2e-07)","source":"sklearn"},"engine":"onnx","golden_rows":16,"name":"data","requirements":["onnxruntime>=1.32.0"],"scan":{"objections":[],"trusted":false,"verdict":"clean"},"signature":{"batched":true,"inputs":[{"datatype":"FP32","name":"x","shape":[-1,3]}],"outputs":[{"datatype":"INT64","name":"label","shape":[-1]},{"datatype":"FP32","name":"probabilities","shape":[-1,2]}]},"source":{"digest":"sha256:401e74bd226cbf4ee5f6bc303b6918b5ffeb852a20c07283a84c165dc75e44ea","format":"joblib","name":"clean.joblib"},"tolerance":{"atol":0.00001,"rtol":0.0001},"weights":"weights/model.onnx"}','{"argosy":"0.1.0","git_commit":"","git_dirty":false,"git_remote":"","host":"vm","pushed_at":"2026-11-26T09:47:11Z","pushed_by":"root","python":"3.11.7","source_path":"/tmp/oldhome/src/clean.joblib"}','2026-11-26T09:47:11.914134Z');
CREATE INDEX ledger_history ON ledger (subject, seq);
CREATE INDEX ledger_at ON ledger (subject, event, time, seq);
CREATE INDEX ix_alias_moves_name ON alias_moves (name);
CREATE INDEX ix_versions_digest ON versions (digest);
DELETE FROM "sqlite_sequence";
COMMIT;
