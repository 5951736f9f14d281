/**
 * Every sentence of the queue page in every language. One exported tuple per
 * sentence, so that a missing translation is a type error and an unused one
 * leaves the bundle. `{0}` is where the number or time goes.
 */
export const languages = ['en', 'de', 'fr', 'es', 'ja'] as const;
export type Language = (typeof languages)[number];
export type Text = readonly [en: string, de: string, fr: string, es: string, ja: string];

/** The languages' own names, for the menu. */
export const names: Text = ['English', 'Deutsch', 'Français', 'Español', '日本語'];

export const language: Text = ['Language', 'Sprache', 'Langue', 'Idioma', '言語'];
export const loading: Text = ['Finding your place …', 'Dein Platz wird gesucht …', 'Recherche de votre place …', 'Buscando tu lugar …', '順番を確認しています…'];

export const scheduled: Text = ['The waiting room opens soon', 'Der Warteraum öffnet bald', 'La salle d’attente ouvre bientôt', 'La sala de espera abre pronto', '待合室はまもなく開きます'];
export const scheduledLead: Text = ['It opens {0}. This page lets you in by itself.', 'Er öffnet {0}. Diese Seite lässt dich von selbst hinein.', 'Elle ouvre {0}. Cette page vous fait entrer d’elle-même.', 'Abre {0}. Esta página te hace pasar sola.', '{0}に開きます。このページは自動で入室します。'];

export const lobby: Text = ['You are in the waiting room', 'Du bist im Warteraum', 'Vous êtes dans la salle d’attente', 'Estás en la sala de espera', '待合室に入りました'];
export const lobbyLead: Text = ['Sales open {0}. You get your place in line then.', 'Der Verkauf beginnt {0}. Dann bekommst du deinen Platz in der Schlange.', 'La vente ouvre {0}. Vous recevrez alors votre place dans la file.', 'La venta abre {0}. Entonces recibirás tu lugar en la fila.', '販売開始は{0}です。そのとき順番が決まります。'];
export const lobbySoon: Text = ['Sales open soon. You get your place in line then.', 'Der Verkauf beginnt bald. Dann bekommst du deinen Platz in der Schlange.', 'La vente ouvre bientôt. Vous recevrez alors votre place dans la file.', 'La venta abre pronto. Entonces recibirás tu lugar en la fila.', 'まもなく販売開始です。そのとき順番が決まります。'];
export const gathered: Text = ['People here', 'Anwesende', 'Personnes présentes', 'Personas aquí', '待合室の人数'];

export const waiting: Text = ['You are in line', 'Du bist in der Schlange', 'Vous êtes dans la file', 'Estás en la fila', '順番待ちです'];
export const ahead: Text = ['people ahead of you', 'Personen vor dir', 'personnes devant vous', 'personas delante de ti', '人があなたの前にいます'];
export const aheadOne: Text = ['person ahead of you', 'Person vor dir', 'personne devant vous', 'persona delante de ti', '人があなたの前にいます'];
export const next: Text = ['You are next', 'Du bist als Nächstes dran', 'Vous êtes le prochain', 'Eres el siguiente', '次はあなたの番です'];
export const keep: Text = ['You may close this page and come back: your place is kept. Be here when your turn comes.', 'Du kannst die Seite schließen und wiederkommen: dein Platz bleibt. Sei da, wenn du dran bist.', 'Vous pouvez fermer cette page et revenir : votre place est gardée. Soyez là quand viendra votre tour.', 'Puedes cerrar esta página y volver: tu lugar se guarda. Vuelve antes de tu turno.', 'ページを閉じても順番は保持されます。順番が来るときには戻ってきてください。'];

export const wait: Text = ['Estimated wait', 'Geschätzte Wartezeit', 'Attente estimée', 'Espera estimada', '待ち時間の目安'];
export const unknown: Text = ['not known yet', 'noch unbekannt', 'pas encore connue', 'aún desconocida', 'まだ不明'];
export const stock: Text = ['Tickets left', 'Tickets übrig', 'Billets restants', 'Entradas restantes', '残り枚数'];
export const rate: Text = ['Let in per minute', 'Einlass pro Minute', 'Entrées par minute', 'Entran por minuto', '毎分の入場者数'];
export const updated: Text = ['Last updated', 'Stand', 'Mis à jour', 'Actualizado', '最終更新'];

export const paused: Text = ['The line is paused', 'Die Schlange steht still', 'La file est en pause', 'La fila está en pausa', '一時停止中です'];
export const pausedLead: Text = ['Everyone keeps their place. It goes on by itself.', 'Alle behalten ihren Platz. Es geht von selbst weiter.', 'Chacun garde sa place. Elle reprendra d’elle-même.', 'Todos conservan su lugar. Seguirá por sí sola.', '順番はそのまま保持され、自動で再開します。'];
export const shopDown: Text = ['The shop is not answering', 'Der Shop antwortet nicht', 'La boutique ne répond pas', 'La tienda no responde', 'ショップが応答していません'];
export const full: Text = ['The shop is full', 'Der Shop ist voll', 'La boutique est pleine', 'La tienda está llena', 'ショップが満員です'];
export const fullLead: Text = ['People go in as others leave. You keep your place.', 'Sobald andere gehen, geht es weiter. Du behältst deinen Platz.', 'On entre dès que d’autres sortent. Vous gardez votre place.', 'Se entra cuando otros salen. Conservas tu lugar.', '空きが出しだい入場できます。順番は保持されます。'];
export const allHeld: Text = ['No ticket is free right now', 'Gerade ist kein Ticket frei', 'Aucun billet libre pour l’instant', 'No hay entradas libres ahora', '現在空きがありません'];
export const allHeldLead: Text = ['Tickets may come back. You keep your place.', 'Tickets können zurückkommen. Du behältst deinen Platz.', 'Des billets peuvent revenir. Vous gardez votre place.', 'Pueden volver entradas. Conservas tu lugar.', 'キャンセルが出る可能性があります。順番は保持されます。'];

export const ready: Text = ['It’s your turn!', 'Du bist dran!', 'C’est votre tour !', '¡Es tu turno!', 'あなたの番です！'];
export const readyLead: Text = ['Enter before the time runs out, or your turn goes to the next person.', 'Tritt ein, bevor die Zeit abläuft, sonst ist der Nächste dran.', 'Entrez avant la fin du temps, sinon votre tour passe au suivant.', 'Entra antes de que acabe el tiempo o pasará el siguiente.', '時間内にお入りください。過ぎると次の人の番になります。'];
export const enter: Text = ['Enter the shop', 'Eintreten', 'Entrer', 'Entrar', '入場する'];
export const inside: Text = ['You’re in', 'Du bist drin', 'Vous êtes entré', 'Ya estás dentro', '入場しました'];
export const toShop: Text = ['Go to the tickets', 'Zu den Tickets', 'Voir les billets', 'Ir a las entradas', 'チケットへ'];

export const done: Text = ['All done', 'Alles erledigt', 'C’est fait', 'Todo listo', '完了しました'];
export const doneLead: Text = ['Your visit to the shop has ended.', 'Dein Besuch im Shop ist beendet.', 'Votre visite de la boutique est terminée.', 'Tu visita a la tienda ha terminado.', 'ショップのご利用は終了しました。'];
export const left: Text = ['You left the line', 'Du hast die Schlange verlassen', 'Vous avez quitté la file', 'Has salido de la fila', '列を離れました'];
export const expired: Text = ['Your turn has passed', 'Deine Zeit ist abgelaufen', 'Votre tour est passé', 'Tu turno ha pasado', '順番が過ぎました'];
export const again: Text = ['Join the line', 'Anstellen', 'Rejoindre la file', 'Unirse a la fila', '列に並ぶ'];
export const againLead: Text = ['You can join the line again.', 'Du kannst dich neu anstellen.', 'Vous pouvez rejoindre la file.', 'Puedes volver a la fila.', 'もう一度並ぶことができます。'];
export const closed: Text = ['The sale has ended', 'Der Verkauf ist beendet', 'La vente est terminée', 'La venta ha terminado', '販売は終了しました'];
export const soldOut: Text = ['Sold out', 'Ausverkauft', 'Complet', 'Agotado', '完売しました'];
export const soldOutLead: Text = ['Every ticket has been sold. Thank you for waiting.', 'Alle Tickets sind verkauft. Danke fürs Warten.', 'Tous les billets sont vendus. Merci d’avoir attendu.', 'Se vendieron todas las entradas. Gracias por esperar.', 'すべて売り切れました。お待ちいただきありがとうございました。'];
export const toEvent: Text = ['About the event', 'Zur Veranstaltung', 'Voir l’événement', 'Ver el evento', 'イベント情報'];

export const busy: Text = ['Very many people are arriving. Trying again in {0} s.', 'Sehr viele kommen gerade an. Neuer Versuch in {0} s.', 'Beaucoup de monde arrive. Nouvel essai dans {0} s.', 'Llega mucha gente. Nuevo intento en {0} s.', '混み合っています。{0}秒後に再試行します。'];
export const noAnswer: Text = ['No connection', 'Keine Verbindung', 'Pas de connexion', 'Sin conexión', '接続できません'];
export const noAnswerLead: Text = ['Trying again by itself. A place you have is kept.', 'Es wird weiter versucht. Ein Platz, den du hast, bleibt.', 'Nouvel essai automatique. Votre place éventuelle est gardée.', 'Se reintenta solo. Si tienes lugar, se guarda.', '自動で再試行します。取得済みの順番は保持されます。'];
export const retry: Text = ['Try again', 'Nochmal versuchen', 'Réessayer', 'Reintentar', '再試行'];

export const live: Text = ['Live', 'Live', 'En direct', 'En directo', 'ライブ'];
export const reconnecting: Text = ['Reconnecting …', 'Verbindet neu …', 'Reconnexion …', 'Reconectando …', '再接続中…'];
export const polling: Text = ['Updated every few seconds', 'Alle paar Sekunden aktuell', 'Mis à jour régulièrement', 'Se actualiza cada poco', '数秒ごとに更新'];
export const offline: Text = ['Offline', 'Offline', 'Hors ligne', 'Sin red', 'オフライン'];

export const leave: Text = ['Leave the line', 'Schlange verlassen', 'Quitter la file', 'Salir de la fila', '列を離れる'];
export const really: Text = ['Leave and lose my place', 'Gehen und Platz verlieren', 'Quitter et perdre ma place', 'Salir y perder mi lugar', '順番を失って離れる'];
export const tell: Text = ['Tell me when it’s my turn', 'Sag mir, wenn ich dran bin', 'Prévenez-moi à mon tour', 'Avísame en mi turno', '順番が来たら知らせる'];
export const tabs: Text = ['Open in another tab too: both hold your place.', 'Auch in einem anderen Tab offen: beide halten deinen Platz.', 'Aussi ouverte dans un autre onglet : les deux gardent votre place.', 'Abierta también en otra pestaña: ambas guardan tu lugar.', '別のタブでも開いています。どちらでも順番は保持されます。'];
